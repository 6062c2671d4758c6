import test from 'ava';
import { assert, integer, maxSafeInteger, property } from 'fast-check';
import { pieceCount, pieceLengthFor, pieceRange } from './piece-length.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

test('pieceLengthFor() keeps to version 2 of the rule', (t) => {
  const cases: [number | undefined, number][] = [
    [undefined, 4 * MIB],
    [0, 256 * KIB],
    [1000 * 256 * KIB, 256 * KIB],
    [1000 * 256 * KIB + 1, 512 * KIB],
    [GIB, 2 * MIB],
    [GIB + 1, 2 * MIB],
    [2 * GIB, 2 * MIB],
    [2000 * 2 * MIB + 1, 4 * MIB],
    [1000 * 16 * MIB, 8 * MIB],
    [2000 * 8 * MIB + 1, 16 * MIB],
    [Number.MAX_SAFE_INTEGER, 16 * MIB],
  ];
  for (const [length, pieceLength] of cases) t.is(pieceLengthFor(length), pieceLength, `${length}`);
});

test('pieceLengthFor() is a power of two, makes at most 2,000 pieces where it may, and never falls', (t) => {
  assert(
    property(maxSafeInteger(), (value) => {
      const length = Math.abs(value);
      const pieceLength = pieceLengthFor(length);
      t.is(Math.log2(pieceLength) % 1, 0);
      t.true(pieceLength >= 256 * KIB && pieceLength <= 16 * MIB);
      const most = length > GIB ? 2000 : 1000;
      if (pieceLength < 16 * MIB) t.true(pieceCount(length, pieceLength) <= most);
      if (pieceLength > 2 * MIB) t.true(length / (pieceLength / 2) > 2000);
      t.true(pieceLengthFor(length + 1) >= pieceLength);
    }),
  );
});

test('pieceRange() parts content without gap or overlap', (t) => {
  const lengths = integer({ min: 1, max: 10_000 });
  assert(
    property(lengths, integer({ min: 1, max: 1_000 }), (length, pieceLength) => {
      let at = 0;
      for (let index = 0; index < pieceCount(length, pieceLength); index += 1) {
        const { start, end } = pieceRange(index, { length, pieceLength });
        t.is(start, at);
        t.true(end > start && end - start <= pieceLength);
        at = end;
      }
      t.is(at, length);
    }),
  );
});

test('pieceRange() refuses what lies outside', (t) => {
  const shape = { length: 10, pieceLength: 4 };
  t.deepEqual(pieceRange(2, shape), { start: 8, end: 10 });
  for (const index of [-1, 3]) t.throws(() => pieceRange(index, shape), { instanceOf: RangeError });
  t.throws(() => pieceRange(0, { length: 0, pieceLength: 4 }), { instanceOf: RangeError });
  t.is(pieceCount(0, 4), 0);
});
