import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { TaskRate } from './task-rate.ts';

test('TaskRate.allow() lets the most generous wish count, and none is the most generous', (t) => {
  const rate = new TaskRate(new ManualClock());
  const rates: number[] = [];
  for (const wish of [100, 50, 200, 0, 300]) {
    rate.allow(wish);
    rates.push(rate.bytesPerSecond);
  }
  t.deepEqual(rates, [100, 100, 200, 0, 0]);
});

test('TaskRate is free from the start when the first wish is', (t) => {
  const rate = new TaskRate(new ManualClock());
  rate.allow(0);
  rate.allow(100);
  t.is(rate.bytesPerSecond, 0);
});

test('TaskRate.set() counts for more than any wish', (t) => {
  const rate = new TaskRate(new ManualClock());
  rate.allow(100);
  rate.set(50);
  rate.allow(0);
  t.is(rate.bytesPerSecond, 50);
});
