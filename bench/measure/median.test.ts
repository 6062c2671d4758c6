import test from 'ava';
import { median } from './median.ts';

test('median() is the middle, or the mean of the two middles, whatever the order', (t) => {
  t.is(median([5]), 5);
  t.is(median([9, 1, 5]), 5);
  t.is(median([10, 1, 2, 100]), 6);
  t.is(median([]), Number.NaN);
});
