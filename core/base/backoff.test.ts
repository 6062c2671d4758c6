import test from 'ava';
import { assert, integer, property } from 'fast-check';
import { backoffMs } from './backoff.ts';
import { SeededRandom } from './random.ts';

test('backoffMs() doubles up to its bound, within half of it', (t) => {
  const shortest = { next: () => 0, below: () => 0 };
  const longest = { next: () => 0.999_999, below: () => 0 };
  const options = { firstMs: 100, maxMs: 1_000 };
  const attempts = [0, 1, 2, 3, 4, 100];
  t.deepEqual(
    attempts.map((attempt) => backoffMs(attempt, options, shortest)),
    [50, 100, 200, 400, 500, 500],
  );
  t.deepEqual(
    attempts.map((attempt) => Math.ceil(backoffMs(attempt, options, longest))),
    [100, 200, 400, 800, 1_000, 1_000],
  );
});

test('backoffMs() stays between half of the first wait and the longest', (t) => {
  assert(
    property(integer({ min: 0, max: 1_000 }), integer(), (attempt, seed) => {
      const ms = backoffMs(attempt, { firstMs: 250, maxMs: 5_000 }, new SeededRandom(seed));
      t.true(ms >= 125 && ms <= 5_000);
    }),
  );
});
