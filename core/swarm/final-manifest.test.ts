import { rm } from 'node:fs/promises';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { CodedError } from '../base/error.ts';
import { HostKey } from '../identity/host-key.ts';
import { encodeFrame } from '../net/mesh/frame-codec.ts';
import { defaultMeshLimits } from '../net/mesh/mesh-limits.ts';
import { pieceCount, pieceLengthFor } from '../piece/piece-length.ts';
import { openStore, sha256, specOf, temporaryFolder } from '../store/fixtures/content.ts';
import type { StoredTask } from '../store/piece-store.ts';
import { FromSupernode } from '../wire/messages.ts';
import { parser } from '../wire/parse-message.ts';
import { messagesOf } from './announcement.ts';
import { sealFinal } from './final-manifest.ts';
import { MAX_BATCH_PIECES, sealManifest } from './manifest.ts';
import { addManifestBatch } from './task-manifest.ts';
import type { ManifestJudge } from './task-manifest.ts';

const TIB = 1024 ** 4;
/** How many pieces there are matters here, not how long they are: room for all of them has to be on the disk. */
const PIECE_LENGTH = 1024;
const cell = HostKey.generate();
const parse = parser(FromSupernode);
const judge: ManifestJudge = {
  verifySupernode: (signer) => {
    if (signer !== cell.peerId) throw new CodedError('ERR_SIGNATURE', 'no supernode');
  },
  acceptsProvisional: () => false,
};

interface Content {
  readonly task: StoredTask;
  readonly length: number;
  readonly digests: string[];
}

/** A version of so many pieces in a store, none of them here; `isOpen`: its length is not known. */
async function begin(
  t: ExecutionContext,
  count: number,
  options: { readonly isOpen?: boolean } = {},
): Promise<Content> {
  const folder = await temporaryFolder();
  const store = await openStore(folder);
  const length = (count - 1) * PIECE_LENGTH + 1;
  const known = options.isOpen === true ? undefined : length;
  const task = await store.create(specOf('content', known, { pieceLength: PIECE_LENGTH }));
  const use = task.acquire();
  t.teardown(async () => {
    use[Symbol.dispose]();
    await store.close();
    await rm(folder, { recursive: true });
  });
  const digests = Array.from({ length: count }, (_unused, piece) =>
    sha256(Buffer.from(`${piece}`)),
  );
  return { task, length, digests };
}

function factsOf({ task, length }: Content): Parameters<typeof sealFinal>[0] {
  const { taskId, version, pieceLength } = task;
  return { task: taskId, version, pieceLength, length, digest: `sha256:${sha256(Buffer.of(1))}` };
}

test('sealFinal() of as many pieces as 1 TiB has is taken in through messages that fit a frame', async (t) => {
  const content = await begin(t, pieceCount(TIB, pieceLengthFor(TIB)));
  const { task, digests } = content;
  t.is(digests.length, 65_536);
  const { texts } = sealFinal(factsOf(content), digests, cell);
  const about = { type: 'update', task: task.taskId, version: task.version } as const;
  for (const manifest of messagesOf(texts)) {
    const message = JSON.stringify({ ...about, manifest });
    encodeFrame('message', message, defaultMeshLimits.maxFrameBytes);
    const update = parse(JSON.parse(message));
    for (const batch of update.type === 'update' ? (update.manifest ?? []) : []) {
      t.false(task.isManifestFinal);
      await addManifestBatch(task, batch, judge);
    }
  }
  t.true(task.isManifestFinal);
  t.is(task.wholeDigest, factsOf(content).digest);
  t.true(digests.every((digest, piece) => task.digestOf(piece) === digest));
  t.deepEqual(task.manifest(), texts);
});

test('parts of a final manifest tell their digests at once, and the length, in any order', async (t) => {
  const content = await begin(t, 2 * MAX_BATCH_PIECES + 9, { isOpen: true });
  const { task, digests } = content;
  const { texts, entries } = sealFinal(factsOf(content), digests, cell);
  t.deepEqual(
    entries.map(({ digest }) => digest),
    digests,
  );
  t.is(texts.length, 3);
  const [first = '', second = '', third = ''] = texts;
  const change = await addManifestBatch(task, third, judge);
  t.true(change.isNews);
  t.is(change.pieces.length, digests.length - 2 * MAX_BATCH_PIECES);
  t.is(task.length, content.length);
  t.true(task.isSigned(digests.length - 1));
  t.false((await addManifestBatch(task, third, judge)).isNews);
  await addManifestBatch(task, first, judge);
  t.false(task.isManifestFinal);
  t.is((await addManifestBatch(task, second, judge)).pieces.length, digests.length);
  t.true(task.isManifestFinal);
  t.deepEqual(task.manifest(), texts);
  t.false((await addManifestBatch(task, second, judge)).isNews);
});

test('parts of a final manifest that say only what is known make it final too', async (t) => {
  const content = await begin(t, MAX_BATCH_PIECES + 1_024, { isOpen: true });
  const { task, digests } = content;
  const { length: _length, digest: _digest, ...subject } = factsOf(content);
  for (let start = 0; start < digests.length; start += 1_000) {
    const batch = { ...subject, start, digests: digests.slice(start, start + 1_000) };
    await addManifestBatch(task, sealManifest('manifest', batch, cell), judge);
  }
  const { texts } = sealFinal(factsOf(content), digests, cell);
  for (const text of texts) await addManifestBatch(task, text, judge);
  t.true(task.isManifestFinal);
  t.deepEqual(task.manifest(), texts);
});

test('a batch with a length that is no part of a final manifest is refused', async (t) => {
  const content = await begin(t, MAX_BATCH_PIECES + 1_024, { isOpen: true });
  const { task, digests } = content;
  const add = async (start: number, end: number): Promise<unknown> => {
    const batch = { ...factsOf(content), start, digests: digests.slice(start, end) };
    return addManifestBatch(task, sealManifest('manifest', batch, cell), judge);
  };
  await t.throwsAsync(add(0, 1_000), { code: 'ERR_ORIGIN_CHANGED' });
  await t.throwsAsync(add(1, MAX_BATCH_PIECES + 1), { code: 'ERR_ORIGIN_CHANGED' });
  await t.throwsAsync(add(MAX_BATCH_PIECES, digests.length - 1), { code: 'ERR_ORIGIN_CHANGED' });
  t.false(task.isManifestFinal);
});
