import test from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { DelayLine } from './delay-line.ts';

test('DelayLine hands items on in order, each after its time', (t) => {
  const clock = new ManualClock();
  const out: string[] = [];
  const line = new DelayLine<string>({ clock, delayMs: 20, maxHeld: 10 }, (item) => out.push(item));
  line.push('first');
  clock.advance(10);
  line.push('second');
  clock.advance(9);
  t.deepEqual(out, []);
  clock.advance(2);
  t.deepEqual(out, ['first']);
  clock.advance(10);
  t.deepEqual(out, ['first', 'second']);
  t.is(line.held, 0);
});

test('DelayLine drops what finds no room, and says how much', (t) => {
  const clock = new ManualClock();
  const out: number[] = [];
  const line = new DelayLine<number>({ clock, delayMs: 5, maxHeld: 2 }, (item) => out.push(item));
  for (const item of [1, 2, 3]) line.push(item);
  clock.advance(10);
  t.deepEqual(out, [1, 2]);
  t.is(line.dropped, 1);
});
