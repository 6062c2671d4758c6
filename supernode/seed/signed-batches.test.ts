import { rm } from 'node:fs/promises';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { HostKey } from '../../core/identity/host-key.ts';
import { hexId, openStore, specOf, temporaryFolder } from '../../core/store/fixtures/content.ts';
import type { StoredTask } from '../../core/store/piece-store.ts';
import { openManifest, sealManifest } from '../../core/swarm/manifest.ts';
import { SignedBatches } from './signed-batches.ts';

const PIECES = 300;
const PIECE_LENGTH = 1024;
const key = HostKey.generate();

/** A task of 300 pieces without a manifest. */
async function begin(t: ExecutionContext): Promise<StoredTask> {
  const folder = await temporaryFolder();
  const store = await openStore(folder);
  const length = PIECES * PIECE_LENGTH;
  const stored = await store.create(specOf('content', length, { pieceLength: PIECE_LENGTH }));
  const use = stored.acquire();
  t.teardown(async () => {
    use[Symbol.dispose]();
    await store.close();
    await rm(folder, { recursive: true });
  });
  return stored;
}

/** Signs one piece, as the seed does while its origin is slow. */
async function sign(stored: StoredTask, piece: number): Promise<string> {
  const { taskId: task, version, pieceLength } = stored;
  const digest = hexId(`${piece}`, 64);
  const batch = { task, version, pieceLength, start: piece, digests: [digest] };
  const text = sealManifest('manifest', batch, key);
  await stored.addManifest(text, [{ index: piece, digest }]);
  return text;
}

/** What batches say, by piece. */
function said(batches: readonly string[]): Map<number, string> {
  const opened = batches.flatMap((text) => openManifest(text, 'manifest').entries);
  return new Map(opened.map(({ index, digest }) => [index, digest]));
}

test('SignedBatches.list() hands out batches as they were made while they are few', async (t) => {
  const stored = await begin(t);
  const batches = new SignedBatches(stored, key);
  t.deepEqual(batches.list(), []);
  const made: string[] = [];
  for (let piece = 0; piece < 64; piece += 1) {
    const text = await sign(stored, piece);
    made.push(text);
    batches.add([text]);
  }
  t.deepEqual(batches.list(), made);
});

test('SignedBatches.list() joins many batches into few that say the same', async (t) => {
  const stored = await begin(t);
  const batches = new SignedBatches(stored, key);
  batches.list();
  for (let piece = 0; piece < PIECES; piece += 1) {
    batches.add([await sign(stored, piece)]);
    t.true(batches.list().length <= 64);
  }
  const all = said(batches.list());
  t.is(all.size, PIECES);
  for (const [piece, digest] of all) t.is(digest, hexId(`${piece}`, 64));
  const signers = batches.list().map((text) => openManifest(text, 'manifest').signer);
  t.deepEqual(new Set(signers), new Set([key.peerId]));
});

test('SignedBatches.list() keeps pieces with gaps between them, of which it makes no fewer batches', async (t) => {
  const stored = await begin(t);
  const batches = new SignedBatches(stored, key);
  batches.list();
  for (let piece = 0; piece < PIECES; piece += 2) batches.add([await sign(stored, piece)]);
  t.is(said(batches.list()).size, PIECES / 2);
  for (let piece = 1; piece < PIECES; piece += 2) batches.add([await sign(stored, piece)]);
  t.is(said(batches.list()).size, PIECES);
});

test('SignedBatches.reload() reads anew what is journalled, without what hosts stated', async (t) => {
  const stored = await begin(t);
  const batches = new SignedBatches(stored, key);
  t.deepEqual(batches.list(), []);
  const { taskId: task, version, pieceLength } = stored;
  const digests = [hexId('stated', 64)];
  const stated = { task, version, pieceLength, start: 1, digests };
  const text = sealManifest('provisional', stated, HostKey.generate());
  await stored.addManifest(text, [{ index: 1, digest: digests[0] ?? '' }]);
  const signed = await sign(stored, 0);
  t.deepEqual(batches.list(), [], 'it was not told');
  batches.reload();
  t.deepEqual(batches.list(), [signed]);
});
