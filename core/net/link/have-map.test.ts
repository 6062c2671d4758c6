import test from 'ava';
import * as fc from 'fast-check';
import { MAX_PIECES, UNKNOWN_PIECES } from './frame.ts';
import { HaveMap } from './have-map.ts';

test('HaveMap knows the pieces of the map it was made from, and no others', (t) => {
  const have = new HaveMap(10, Uint8Array.of(0b1010_0000, 0b0111_1111));
  t.deepEqual(have.indexes(), [0, 2, 9]);
  t.is(have.count, 3);
  t.is(have.limit, 10);
  t.false(have.has(10));
});

test('HaveMap grows while the number of pieces is unknown, up to the bound', (t) => {
  const have = new HaveMap(UNKNOWN_PIECES, new Uint8Array(0));
  fc.assert(
    fc.property(fc.nat(MAX_PIECES - 1), (piece) => {
      have.set(piece);
      t.true(have.has(piece));
    }),
    { numRuns: 20 },
  );
  t.is(have.limit, MAX_PIECES);
  t.true(have.snapshot().length <= MAX_PIECES / 8);
  const before = have.count;
  have.clear(have.indexes()[0] ?? -1);
  t.is(have.count, before - 1);
});

test('HaveMap refuses a map longer than the task, and a task longer than the bound', (t) => {
  t.throws(() => new HaveMap(8, new Uint8Array(2)), { code: 'ERR_PROTOCOL' });
  t.throws(() => new HaveMap(MAX_PIECES + 1, new Uint8Array(0)), { code: 'ERR_PROTOCOL' });
});
