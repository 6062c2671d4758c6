import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { CellTime } from './cell-time.ts';

test('CellTime.now() is this machine’s time until the cell is heard', (t) => {
  const clock = new ManualClock(5_000_000);
  const time = new CellTime(clock);
  clock.advance(1500);
  t.is(time.now(), 5_001_500);
});

test('CellTime.now() follows the cell, whatever the wall clock does', (t) => {
  const clock = new ManualClock(5_000_000);
  const time = new CellTime(clock);
  clock.advance(700);
  time.observe(9_000_000);
  t.is(time.now(), 9_000_000);
  clock.jump(-3_600_000);
  clock.advance(250);
  t.is(time.now(), 9_000_250);
  time.observe(8_999_000);
  t.is(time.now(), 8_999_000, 'the last word counts');
});

test('CellTime.observe() ignores what is no time', (t) => {
  const clock = new ManualClock(5_000_000);
  const time = new CellTime(clock);
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 0, -1]) time.observe(value);
  t.is(time.now(), 5_000_000);
});
