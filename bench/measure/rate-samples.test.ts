import test from 'ava';
import { mostWithin, rateWithin, secondsUntil } from './rate-samples.ts';

/** A sample each half second: 100 bytes a second, from 2 s on 1,000, from 5 s on nothing. */
const samples = Array.from({ length: 15 }, (_item, at) => {
  const seconds = at / 2;
  const fast = Math.max(0, Math.min(seconds, 5) - 2);
  return { atMs: 7_000 + seconds * 1000, bytes: 100 * Math.min(seconds, 2) + 1000 * fast };
});

test('rateWithin() is the mean of what lies inside, and nothing where that is not two samples', (t) => {
  t.is(rateWithin(samples, { fromMs: 7_000, toMs: 9_000 }), 100);
  t.is(rateWithin(samples, { fromMs: 8_900, toMs: 10_100 }), 1000);
  t.is(rateWithin(samples, { fromMs: 8_000, toMs: 10_000 }), 550);
  t.is(rateWithin(samples, { fromMs: 7_100, toMs: 7_700 }), undefined);
  t.is(rateWithin([], { fromMs: 0, toMs: 1 }), undefined);
});

test('secondsUntil() is when a whole window of the rate begins, and nothing if none does', (t) => {
  t.is(secondsUntil(samples, { fromMs: 7_000, rate: 1000, windowMs: 1_000 }), 2);
  t.is(secondsUntil(samples, { fromMs: 7_000, rate: 500, windowMs: 1_000 }), 1.5);
  t.is(secondsUntil(samples, { fromMs: 9_000, rate: 1000, windowMs: 1_000 }), 0);
  t.is(secondsUntil(samples, { fromMs: 11_500, rate: 1000, windowMs: 1_000 }), undefined);
  t.is(secondsUntil(samples, { fromMs: 7_000, rate: 1001, windowMs: 1_000 }), undefined);
  t.is(secondsUntil(samples, { fromMs: 9_000, rate: 1000, windowMs: 4_000 }), undefined);
});

test('mostWithin() is the fullest window', (t) => {
  t.is(mostWithin(samples, { fromMs: 7_000, windowMs: 1_000 }), 1000);
  t.is(mostWithin(samples, { fromMs: 7_000, windowMs: 4_000 }), 775);
  t.is(mostWithin(samples, { fromMs: 12_000, windowMs: 1_000 }), 0);
  t.is(mostWithin([], { fromMs: 0, windowMs: 1_000 }), 0);
});
