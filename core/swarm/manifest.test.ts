import { createHash } from 'node:crypto';
import test from 'ava';
import { assert, integer, property, string, uniqueArray } from 'fast-check';
import { HostKey } from '../identity/host-key.ts';
import { MAX_BATCH_PIECES, contiguousRuns, openManifest, sealManifest } from './manifest.ts';

const key = HostKey.generate();
const subject = { task: 'a'.repeat(64), version: 'b'.repeat(16), pieceLength: 1024 };

function digestOf(piece: number): string {
  return createHash('sha256').update(`${piece}`).digest('hex');
}

test('openManifest() reads what sealManifest() wrote', (t) => {
  const pieces = integer({ min: 0, max: 50 });
  assert(
    property(pieces, integer({ min: 1, max: 20 }), (start, count) => {
      const digests = Array.from({ length: count }, (_unused, offset) => digestOf(start + offset));
      const text = sealManifest('manifest', { ...subject, start, digests }, key);
      const { body, signer, entries } = openManifest(text, 'manifest');
      t.is(signer, key.peerId);
      t.like(body, { ...subject, start });
      t.deepEqual(
        entries,
        digests.map((digest, offset) => ({ index: start + offset, digest })),
      );
    }),
    { numRuns: 20 },
  );
});

test('openManifest() takes the final batch of empty content, and no other without digests', (t) => {
  const empty = { ...subject, start: 0, digests: [] };
  const final = sealManifest('manifest', { ...empty, length: 0 }, key);
  t.deepEqual(openManifest(final, 'manifest').entries, []);
  for (const batch of [empty, { ...empty, length: 7 }]) {
    const text = sealManifest('manifest', batch, key);
    t.throws(() => openManifest(text, 'manifest'), { code: 'ERR_MANIFEST' });
  }
});

test('openManifest() takes a batch of as many pieces as one may name', (t) => {
  const digests = Array.from({ length: MAX_BATCH_PIECES }, (_unused, piece) => digestOf(piece));
  const text = sealManifest('manifest', { ...subject, start: 0, digests, length: 1 }, key);
  t.is(openManifest(text, 'manifest').entries.length, MAX_BATCH_PIECES);
});

test('openManifest() refuses another kind, an altered batch and a wrong shape', (t) => {
  const batch = { ...subject, start: 0, digests: [digestOf(0)] };
  const text = sealManifest('manifest', batch, key);
  t.throws(() => openManifest(text, 'provisional'), { code: 'ERR_SIGNATURE' });
  t.throws(() => openManifest(text.replace('.', '..'), 'manifest'), { code: 'ERR_SIGNATURE' });
  const odd = sealManifest('manifest', { ...batch, task: 'short' }, key);
  t.throws(() => openManifest(odd, 'manifest'), { code: 'ERR_MANIFEST' });
  const half = sealManifest('manifest', { ...batch, digests: ['abcd'] }, key);
  t.throws(() => openManifest(half, 'manifest'), { code: 'ERR_MANIFEST' });
});

test('openManifest() refuses any text with a code', (t) => {
  assert(
    property(string(), (text) => {
      t.throws(() => openManifest(`v1.manifest.${text}`, 'manifest'), { code: 'ERR_SIGNATURE' });
    }),
  );
});

test('contiguousRuns() parts indexes into neighbours and loses none', (t) => {
  const indexes = uniqueArray(integer({ min: 0, max: 60 }), { maxLength: 40 });
  assert(
    property(indexes, (list) => {
      const runs = contiguousRuns(new Map(list.map((piece) => [piece, digestOf(piece)])));
      const covered = runs.flatMap(({ start, digests }) =>
        digests.map((digest, offset) => {
          t.is(digest, digestOf(start + offset));
          return start + offset;
        }),
      );
      t.deepEqual(
        covered,
        list.toSorted((a, b) => a - b),
      );
      for (const [index, run] of runs.slice(1).entries()) {
        const before = runs[index];
        t.true(run.start > (before?.start ?? 0) + (before?.digests.length ?? 0));
      }
    }),
  );
});

test('contiguousRuns() cuts a run at what one batch names', (t) => {
  const pieces = Array.from({ length: 2 * MAX_BATCH_PIECES + 1 }, (_unused, piece) => piece + 7);
  const runs = contiguousRuns(new Map(pieces.map((piece) => [piece, `${piece}`])));
  t.deepEqual(
    runs.map(({ start, digests }) => [start, digests.length]),
    [
      [7, MAX_BATCH_PIECES],
      [7 + MAX_BATCH_PIECES, MAX_BATCH_PIECES],
      [7 + 2 * MAX_BATCH_PIECES, 1],
    ],
  );
});
