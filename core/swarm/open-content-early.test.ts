import { open, rm } from 'node:fs/promises';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { openStore, sha256, specOf, temporaryFolder } from '../store/fixtures/content.ts';
import type { StoredTask } from '../store/piece-store.ts';
import { readEarly } from './open-content-early.ts';

const PIECE_LENGTH = 1024;
const never = new AbortController().signal;
const right = Buffer.alloc(PIECE_LENGTH, 'right');

interface Scene {
  readonly stored: StoredTask;
  /** These bytes of the second piece are in its file, and it is known. */
  come(bytes: Uint8Array, end: number): Promise<void>;
  /** The second piece is verified. */
  verify(): Promise<void>;
  readonly reading: AsyncGenerator<Uint8Array, number, undefined>;
}

/** Somebody reads the second of four pieces while it comes in. */
async function begun(t: ExecutionContext): Promise<Scene> {
  const folder = await temporaryFolder();
  const store = await openStore(folder);
  const length = 4 * PIECE_LENGTH;
  const stored = await store.create(specOf('content', length, { pieceLength: PIECE_LENGTH }));
  await stored.addManifest('batch', [{ index: 1, digest: sha256(right) }]);
  const use = stored.acquire();
  t.teardown(async () => {
    use[Symbol.dispose]();
    await store.close();
    await rm(folder, { recursive: true });
  });
  const came = { bytes: 0, [Symbol.dispose]: () => undefined };
  let news = Promise.withResolvers<void>();
  const tell = (): void => {
    news.resolve();
    news = Promise.withResolvers();
  };
  const wait = async (isSo: () => boolean): Promise<void> => {
    while (!isSo()) await news.promise;
  };
  return {
    stored,
    come: async (bytes, end) => {
      await using file = await open(stored.path, 'r+');
      await file.write(bytes.subarray(0, end), 0, end, PIECE_LENGTH);
      came.bytes = end;
      tell();
    },
    verify: async () => {
      await stored.markHad(1);
      tell();
    },
    reading: readEarly(stored, { piece: 1, came, wait, signal: never }),
  };
}

test('readEarly() gives what is in the file of a piece, and says how far once that is verified', async (t) => {
  const scene = await begun(t);
  const first = scene.reading.next();
  await scene.come(right, 16);
  t.deepEqual(await first, { done: false, value: right.subarray(0, 16) });
  const second = scene.reading.next();
  await scene.come(right, 100);
  t.deepEqual(await second, { done: false, value: right.subarray(16, 100) });
  const end = scene.reading.next();
  await scene.come(right, PIECE_LENGTH);
  t.deepEqual(await end, { done: false, value: right.subarray(100) });
  const over = scene.reading.next();
  await scene.verify();
  t.deepEqual(await over, { done: true, value: 2 * PIECE_LENGTH });
});

test('readEarly() leaves the rest of a piece that was verified meanwhile to who reads on', async (t) => {
  const scene = await begun(t);
  const first = scene.reading.next();
  await scene.come(right, 16);
  t.is((await first).done, false);
  await scene.come(right, PIECE_LENGTH);
  await scene.verify();
  t.deepEqual(await scene.reading.next(), { done: true, value: PIECE_LENGTH + 16 });
});

test('readEarly() gives nothing more once what it gave is known to be wrong', async (t) => {
  const scene = await begun(t);
  const first = scene.reading.next();
  await scene.come(Buffer.alloc(PIECE_LENGTH, 'wrong'), 16);
  t.is((await first).done, false);
  // The piece comes again, of somebody else.
  await scene.come(right, PIECE_LENGTH);
  await scene.verify();
  await t.throwsAsync(scene.reading.next(), { code: 'ERR_DIGEST_MISMATCH' });
});

test('readEarly() gives nothing of a piece that is there before anybody was told of it', async (t) => {
  const scene = await begun(t);
  const first = scene.reading.next();
  await scene.verify();
  t.deepEqual(await first, { done: true, value: PIECE_LENGTH });
});
