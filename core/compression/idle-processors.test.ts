import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { IdleProcessors } from './idle-processors.ts';

test('IdleProcessors counts what is idle, and what compressing takes, once a second', (t) => {
  const clock = new ManualClock();
  const times = { idleMs: 0, totalMs: 0, processors: 4 };
  let ownMs = 0;
  const idle = new IdleProcessors(clock, { ownMs: () => ownMs, read: () => ({ ...times }) });
  const pass = (ms: number, idleMs: number): number | undefined => {
    clock.advance(ms);
    times.totalMs += 4 * ms;
    times.idleMs += idleMs;
    return idle.count;
  };
  t.is(idle.count, undefined);
  t.is(pass(500, 2_000), undefined);
  t.is(pass(500, 0), 2);
  t.is(pass(999, 0), 2);
  ownMs += 500;
  t.is(pass(1, 500), 1);
  // A long rest: nothing is known, and then again.
  t.is(pass(60_000, 0), undefined);
  t.is(pass(1_000, 4_000), 4);
});

test('IdleProcessors sees the processors of this machine', (t) => {
  const clock = new ManualClock();
  const idle = new IdleProcessors(clock, { ownMs: () => 0 });
  t.is(idle.count, undefined);
  clock.advance(1_000);
  const { count = 0 } = idle;
  t.true(count >= 0);
});
