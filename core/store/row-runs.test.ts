import test from 'ava';
import * as fc from 'fast-check';
import { hasRow, isRowRuns, nextRow, rowNumbers, withNextRow, withoutRows } from './row-runs.ts';
import type { RowRuns } from './row-runs.ts';

test('withNextRow() makes the last run longer, and nextRow() is never one that was there', (t) => {
  let rows: RowRuns = [];
  t.is(nextRow(rows), 0);
  for (let count = 0; count < 3; count += 1) rows = withNextRow(rows);
  t.deepEqual(rows, [[0, 3]]);
  rows = withNextRow(withoutRows(rows, [1]));
  t.deepEqual(rows, [
    [0, 1],
    [2, 4],
  ]);
  t.is(nextRow(rows), 4);
});

test('withoutRows() leaves exactly the others', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 40 })), (gone) => {
      const left = withoutRows([[0, 40]], gone);
      t.true(isRowRuns(left));
      const others = Array.from({ length: 40 }, (_unused, row) => row);
      t.deepEqual(
        [...rowNumbers(left)],
        others.filter((row) => !gone.includes(row)),
      );
      t.true(others.every((row) => hasRow(left, row) === !gone.includes(row)));
    }),
  );
});

test('isRowRuns() refuses what is not ascending, or more rows than a manifest can have', (t) => {
  t.true(isRowRuns([]));
  const wrong = [[0], [[0]], [[1, 1]], [[2, 1]], [[0, 2, 3]], [[-1, 2]], [[0.5, 2]], [['0', 1]]];
  for (const value of [...wrong, [[0, 2 ** 40]], 7, undefined]) {
    t.false(isRowRuns(value), JSON.stringify(value));
  }
  t.false(
    isRowRuns([
      [0, 4],
      [3, 5],
    ]),
  );
});
