import test from 'ava';
import { setTimeout as sleep } from 'node:timers/promises';
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
    return idle.look();
  };
  t.is(idle.look(), undefined);
  t.is(pass(99, 198), undefined);
  t.is(pass(1, 2), 2);
  t.is(pass(900, 0), 2);
  t.is(pass(100, 2_000), 2);
  t.is(pass(999, 0), 2);
  ownMs += 500;
  t.is(pass(1, 500), 1);
  // A long rest: nothing is known, and then again.
  t.is(pass(60_000, 0), undefined);
  t.is(pass(1_000, 4_000), 4);
});

test('IdleProcessors sees the processors of this machine', async (t) => {
  const clock = new ManualClock();
  const idle = new IdleProcessors(clock, { ownMs: () => 0 });
  t.is(idle.look(), undefined);
  let seen: number | undefined;
  // The kernel counts in hundredths of a second.
  while (seen === undefined) {
    await sleep(20);
    clock.advance(1_000);
    seen = idle.look();
  }
  t.true(seen >= 0);
});
