import test from 'ava';
import * as fc from 'fast-check';
import { openLists } from './approval-quorum.ts';

function open(lists: readonly string[][], ...agreed: readonly string[]): readonly string[][] {
  return openLists(lists, new Set(agreed)).map((list) => [...list]);
}

/** Tries every way. */
function isPossible(rest: readonly string[][], free: readonly string[]): boolean {
  const [first, ...others] = rest;
  if (first === undefined) return true;
  return first.some(
    (one) =>
      free.includes(one) &&
      isPossible(
        others,
        free.filter((other) => other !== one),
      ),
  );
}

test('openLists() takes one person for one list, whatever the order of lists', (t) => {
  t.deepEqual(open([['ann', 'bob'], ['eve']]), [['ann', 'bob'], ['eve']]);
  t.deepEqual(open([['ann', 'bob'], ['eve']], 'ann', 'eve'), []);
  t.deepEqual(open([['ann', 'bob'], ['eve']], 'ann', 'bob'), [['eve']]);
  t.deepEqual(open([['ann'], ['ann', 'eve']], 'ann'), [['ann', 'eve']], 'one person twice');
  t.deepEqual(open([['ann', 'eve'], ['ann']], 'ann', 'eve'), [], 'ann changes over');
  t.deepEqual(open([['ann'], ['ann']], 'ann', 'eve'), [['ann']]);
});

test('openLists() finds people for all lists exactly when there are such', (t) => {
  const name = fc.constantFrom('a', 'b', 'c', 'd');
  const lists = fc.array(fc.uniqueArray(name, { minLength: 1 }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(lists, fc.uniqueArray(name), (asked, agreed) => {
      t.is(open(asked, ...agreed).length === 0, isPossible(asked, agreed));
    }),
  );
});
