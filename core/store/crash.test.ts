import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, cp, mkdir, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { SeededRandom } from '../base/random.ts';
import { freeBytes } from './capacity.ts';
import {
  completeTask,
  contentOf,
  entriesOf,
  openStore,
  pieceOf,
  PIECE_LENGTH,
  readAll,
  removeFolder,
  specOf,
  temporaryFolder,
  writePiece,
} from './fixtures/content.ts';

const WRITER = join(import.meta.dirname, 'fixtures', 'crash-writer.ts');
const PIECES = 200;
const ROUNDS = 5;

/** Runs the writer until it has told `lines` lines, kills it, and answers with all it told. */
async function writeUntilKilled(directory: string, seed: string, lines: number): Promise<string[]> {
  const child = spawn(process.execPath, [WRITER, directory, seed], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const told: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    told.push(line);
    if (told.length === lines || line === 'complete') child.kill('SIGKILL');
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return told;
}

test('PieceStore keeps every piece it said it had when the process is killed at any point', async (t) => {
  const seed = 20_260_801;
  t.log(`seed ${seed}`);
  const random = new SeededRandom(seed);
  const folder = await temporaryFolder();
  t.teardown(() => removeFolder(folder));
  const directory = join(folder, 'data');
  const content = contentOf('crash', PIECES * PIECE_LENGTH);
  const promised = new Set<number>();
  for (let round = 0; round < ROUNDS; round += 1) {
    const lines = round === ROUNDS - 1 ? Infinity : 1 + random.below(40);
    const told = await writeUntilKilled(directory, 'crash', lines);
    const isFinished = told.at(-1) === 'complete';
    for (const line of told) if (line !== 'complete') promised.add(Number(line));

    await using store = await openStore(directory);
    t.deepEqual(store.repairs, [], `round ${round}`);
    const [task] = store.tasks();
    if (task === undefined) return t.fail('the task is gone');
    for (const piece of promised) t.true(task.pieces.has(piece), `piece ${piece} was promised`);
    for (const piece of task.pieces.indexes()) {
      const start = piece * PIECE_LENGTH;
      const bytes = await readAll(task, { start, end: start + PIECE_LENGTH });
      t.deepEqual(bytes, pieceOf(content, piece), `bytes of piece ${piece}`);
      t.not(task.digestOf(piece), undefined, `digest of piece ${piece}`);
    }
    t.deepEqual(await task.rehash(), []);
    if (round === ROUNDS - 1) t.true(isFinished);
    if (!isFinished) continue;
    t.true(task.isComplete);
    t.is(task.checkUnchanged(), 'same');
    t.deepEqual(task.manifest(), ['final']);
  }
});

/** Mounts a tmpfs of a few MiB on `folder`; false where that is not allowed. */
function mountSmall(folder: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', folder], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Fills a filesystem; what the journal gives free of itself meanwhile, too: an old log, some time after it is closed. */
async function fillUp(folder: string): Promise<void> {
  for (let full = 0; full < 5;) {
    for (let bytes = 2 ** 22; bytes >= 1; bytes = Math.floor(bytes / 2)) {
      const file = join(folder, `filling-${bytes}`);
      await appendFile(file, Buffer.alloc(bytes)).catch(() => undefined);
    }
    full = (await freeBytes(folder)) === 0 ? full + 1 : 0;
    await delay(50);
  }
}

test('PieceStore on a full disk makes room, and what is marked after that survives a crash', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => removeFolder(folder));
  const small = join(folder, 'small');
  await mkdir(small);
  if (!mountSmall(small)) {
    t.pass('no right to mount a small filesystem');
    return;
  }
  // Lazily: a file that was just closed may keep it busy for a moment.
  t.teardown(() => execFileSync('umount', ['--lazy', small]));
  await using store = await openStore(join(small, 'data'));
  const old = await completeTask(store, 'old', 1_500_000);
  const content = contentOf('new', 100_000);
  const task = await store.create(specOf('new', 100_000));
  using _use = task.acquire();
  await task.addManifest('all', entriesOf(content));
  await writePiece(task, 0, content);
  await task.markHad(0);

  await fillUp(small);
  t.is(await freeBytes(small), 0);
  const error = { code: 'ERR_NO_SPACE' };
  for (let at = 0; at < 20; at += 1)
    await t.throwsAsync(task.setWholeDigest('x'.repeat(5000)), error);
  const final = { wholeDigest: 'sha256:01' };
  await t.throwsAsync(task.replaceManifest(['final'], entriesOf(content), final), error);
  t.false(task.isManifestFinal);
  t.not(task.wholeDigest, final.wholeDigest);
  t.deepEqual(task.manifest(), ['all']);
  t.true(await store.makeRoom(1_000_000));
  t.is(store.find(old.taskId), undefined);
  await task.replaceManifest(['final'], entriesOf(content), final);
  for (let piece = 1; piece < 100; piece += 1) {
    await writePiece(task, piece, content);
    await task.markHad(piece);
  }

  // As a killed process would leave it.
  const copy = join(folder, 'copy');
  await cp(join(small, 'data'), copy, { recursive: true });
  await rm(join(copy, 'journal', 'LOCK'), { force: true });
  await using again = await openStore(copy);
  t.deepEqual(again.repairs, []);
  t.is(again.tasks().length, 1);
  const kept = again.tasks()[0];
  t.true(kept?.isComplete);
  t.true(kept?.isManifestFinal);
  t.is(kept?.wholeDigest, final.wholeDigest);
  t.deepEqual(kept?.manifest(), ['final']);
});

test('PieceStore.makeRoom() makes room for the journal too, where the bytes alone would fit', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => removeFolder(folder));
  if (!mountSmall(folder)) {
    t.pass('no right to mount a small filesystem');
    return;
  }
  t.teardown(() => execFileSync('umount', ['--lazy', folder]));
  await using store = await openStore(join(folder, 'data'));
  await completeTask(store, 'old', 1_500_000);
  const task = await store.create(specOf('new', 1000));
  using _use = task.acquire();
  await fillUp(folder);
  const write = async (): Promise<void> => task.setWholeDigest('x'.repeat(5000));
  await t.throwsAsync(write(), { code: 'ERR_NO_SPACE' });
  const filling = join(folder, `filling-${2 ** 22}`);
  await truncate(filling, (await stat(filling)).size - 300_000);
  t.true((await freeBytes(folder)) >= 200_000);
  t.true(await store.makeRoom(1000));
  await write();
});
