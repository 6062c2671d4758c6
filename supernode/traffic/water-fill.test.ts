import test from 'ava';
import * as fc from 'fast-check';
import { waterFill } from './water-fill.ts';

const want = fc.oneof(fc.constant(Number.POSITIVE_INFINITY), fc.nat(1_000_000));

test('waterFill() gives what is left of the small wishes to the large ones', (t) => {
  t.deepEqual(waterFill(100, [10, Number.POSITIVE_INFINITY, 30, 80]), [10, 30, 30, 30]);
  t.deepEqual(waterFill(100, [10, 20]), [10, 20]);
  t.deepEqual(waterFill(100, [0, 1_000], 10), [10, 90]);
  t.deepEqual(waterFill(10, [0, 0], 10), [5, 5]);
  t.deepEqual(waterFill(0, [5]), [0]);
  t.deepEqual(waterFill(5, []), []);
});

test('waterFill() never gives more than the budget, nor leaves what somebody wants', (t) => {
  fc.assert(
    fc.property(fc.nat(1_000_000), fc.array(want, { maxLength: 50 }), (budget, wants) => {
      const given = waterFill(budget, wants);
      const sum = given.reduce((total, share) => total + share, 0);
      if (sum > budget) return false;
      // Whole bytes: each may lack the part of one.
      const isServed = given.every((share, at) => share >= Math.floor(wants[at] ?? 0));
      return isServed || sum > budget - wants.length;
    }),
  );
  t.pass();
});

test('waterFill() gives nobody less than another who wants no more, and no wish matters to who wants less', (t) => {
  fc.assert(
    fc.property(
      fc.nat(1_000_000),
      fc.array(want, { minLength: 2, maxLength: 20 }),
      (budget, wants) => {
        const given = waterFill(budget, wants);
        return wants.every((one, at) =>
          wants.every((other, place) => one < other || (given[at] ?? 0) >= (given[place] ?? 0) - 1),
        );
      },
    ),
  );
  t.pass();
});
