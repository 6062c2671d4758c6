import test from 'ava';
import { assert, integer, property, uniqueArray } from 'fast-check';
import { originRuns, ownOriginPieces } from './split-origin.ts';

const hosts = uniqueArray(
  integer({ min: 0, max: 1_000 }).map((id) => `host-${id}`),
  {
    minLength: 1,
    maxLength: 12,
  },
);
const pieces = uniqueArray(integer({ min: 0, max: 200 }), { maxLength: 60 }).map((list) =>
  list.toSorted((a, b) => a - b),
);

function shares(missing: readonly number[], all: readonly string[], patience: number): number[][] {
  return all.map((self) => {
    const others = all.filter((host) => host !== self);
    return ownOriginPieces(missing, { self, others, patience });
  });
}

test('ownOriginPieces() shares every piece out, and each to one host', (t) => {
  assert(
    property(hosts, pieces, (all, missing) => {
      const owned = shares(missing, all, 0).flat();
      t.deepEqual(
        owned.toSorted((a, b) => a - b),
        missing,
      );
    }),
  );
});

test('ownOriginPieces() gives a piece to one more host with each patience, and at last to all', (t) => {
  assert(
    property(hosts, integer({ min: 0, max: 15 }), (all, patience) => {
      const owners = shares([7], all, patience).filter((share) => share.length === 1).length;
      t.is(owners, Math.min(all.length, patience + 1));
    }),
  );
});

test('ownOriginPieces() moves only what a host had that goes away', (t) => {
  const missing = Array.from({ length: 400 }, (_unused, piece) => piece);
  const all = ['a', 'b', 'c', 'd'];
  const before = shares(missing, all, 0);
  const after = shares(missing, all.slice(0, 3), 0);
  for (const [index, share] of before.slice(0, 3).entries()) {
    t.true(share.every((piece) => after[index]?.includes(piece)));
  }
  t.true(
    before.every((share) => share.length > 40),
    'and shares evenly',
  );
});

test('originRuns() covers pieces in order, within its bounds', (t) => {
  const bounds = integer({ min: 1, max: 20 });
  assert(
    property(pieces, bounds, bounds, (list, maxRuns, maxRunPieces) => {
      const runs = originRuns(list, { maxRuns, maxRunPieces });
      t.true(runs.length <= maxRuns);
      const covered = runs.flatMap(({ start, end }) =>
        Array.from({ length: end - start }, (_unused, offset) => start + offset),
      );
      t.true(runs.every(({ start, end }) => end > start && end - start <= maxRunPieces));
      t.deepEqual(covered, list.slice(0, covered.length));
      if (runs.length < maxRuns) t.is(covered.length, list.length);
    }),
  );
});

test('originRuns() keeps neighbours together', (t) => {
  const runs = originRuns([0, 1, 2, 5, 6, 9], { maxRuns: 9, maxRunPieces: 2 });
  t.deepEqual(runs, [
    { start: 0, end: 2 },
    { start: 2, end: 3 },
    { start: 5, end: 7 },
    { start: 9, end: 10 },
  ]);
});

test('originRuns() of nothing is nothing', (t) => {
  t.deepEqual(originRuns([], { maxRuns: 1, maxRunPieces: 1 }), []);
});
