// Whatever somebody or something did to the files of a data folder: it opens, serves no wrong byte, says what it
// repaired, and is whole again once the content was fetched again.
import test from 'ava';
import assert from 'node:assert/strict';
import { cp, mkdir, open, readdir, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SeededRandom } from '../base/random.ts';
import {
  contentOf,
  fill,
  openStore,
  pieceOf,
  PIECE_LENGTH,
  readAll,
  removeFolder,
  specOf,
  temporaryFolder,
} from './fixtures/content.ts';
import type { PieceStore, StoredTask } from './piece-store.ts';
import { taskName } from './task-row.ts';

const FIRST_SEED = 20_261_101;
const SEEDS = 24;
const LENGTHS = [0, 1, 900, 2_500, 4_000, 4_000, 8_001, 20_000];

interface Known {
  readonly seed: string;
  readonly content: Buffer;
  /** What is had when the folder is damaged; undefined: all of it. */
  readonly pieces: readonly number[] | undefined;
  readonly isLengthKnown: boolean;
}

/** What the folder of a test holds: whole, partial, and of a length not known yet. */
function knownContents(random: SeededRandom): Map<string, Known> {
  const all = new Map<string, Known>();
  const add = (seed: string, length: number, rest: Partial<Known> = {}): void => {
    const content = contentOf(seed, length);
    const known = { seed, content, pieces: undefined, isLengthKnown: true, ...rest };
    all.set(taskName(specOf(seed, length)), known);
  };
  for (const [at, length] of LENGTHS.entries()) add(`whole ${at}`, length);
  for (const length of [5_000, 20_000]) {
    const pieces = Array.from({ length: length / PIECE_LENGTH }, (_none, piece) => piece);
    const some = pieces.filter(() => random.below(2) === 1);
    add(`part of ${length}`, length, { pieces: some });
    add(`open ${length}`, length, { pieces: some, isLengthKnown: false });
  }
  return all;
}

async function begin(store: PieceStore, known: Known): Promise<StoredTask> {
  const length = known.isLengthKnown ? known.content.length : undefined;
  return store.create(specOf(known.seed, length));
}

/** Makes the folder; half of them as a killed process leaves its journal, the rest closed. */
async function makeFolder(
  directory: string,
  contents: ReadonlyMap<string, Known>,
  random: SeededRandom,
): Promise<void> {
  {
    await using store = await openStore(directory);
    // So that some rows are in tables, some overwritten or deleted.
    for (const known of contents.values()) {
      const task = await begin(store, known);
      using _use = task.acquire();
      if (known.content.length > 0)
        await fill(task, known.content, known.pieces?.slice(0, 2) ?? [0]);
    }
    const gone = await store.create(specOf('gone', 3_000));
    await store.remove(gone);
  }
  const isKilled = random.below(2) === 1;
  const journal = join(directory, 'journal');
  {
    await using store = await openStore(directory);
    for (const known of contents.values()) {
      const task = await begin(store, known);
      using _use = task.acquire();
      await fill(task, known.content, known.pieces);
    }
    if (isKilled) await cp(journal, `${directory}-killed`, { recursive: true });
  }
  if (!isKilled) return;
  await rm(journal, { recursive: true });
  await rename(`${directory}-killed`, journal);
}

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return files.map((entry) => join(entry.parentPath, entry.name)).toSorted();
}

const DAMAGES = ['truncate', 'flip', 'garbage', 'delete', 'swap', 'folder'] as const;

/** Does something bad to one file, or two, and answers with what. */
async function damage(directory: string, random: SeededRandom): Promise<string> {
  const files = await filesIn(directory);
  const pick = (): string => files[random.below(files.length)] ?? '';
  const [file, other] = [pick(), pick()];
  const kind = DAMAGES[random.below(DAMAGES.length)] ?? 'flip';
  const { size } = await stat(file);
  if (kind === 'truncate') await truncate(file, random.below(size + 1));
  if (kind === 'delete') await rm(file);
  if (kind === 'flip' && size > 0) {
    await using handle = await open(file, 'r+');
    for (let times = 1 + random.below(4); times > 0; times -= 1) {
      const byte = Buffer.alloc(1);
      const at = random.below(size);
      await handle.read(byte, 0, 1, at);
      byte[0] = (byte[0] ?? 0) ^ (1 << random.below(8));
      await handle.write(byte, 0, 1, at);
    }
  }
  if (kind === 'garbage') {
    await using handle = await open(file, 'r+');
    const bytes = contentOf(`garbage ${random.below(1000)}`, 1 + random.below(600));
    await handle.write(bytes, 0, bytes.length, random.below(size + 1));
  }
  if (kind === 'swap' && file !== other) {
    await rename(file, `${file}.swap`);
    await rename(other, file);
    await rename(`${file}.swap`, other);
  }
  if (kind === 'folder') {
    await rm(file);
    await mkdir(file);
    await writeFile(join(file, 'something'), 'in it');
  }
  const second = kind === 'swap' ? ` ${basename(other)}` : '';
  return `${kind} ${join(basename(dirname(file)), basename(file)).slice(-40)}${second}`;
}

/** The pieces that are had and right; throws at one that is wrong. */
async function rightPieces(task: StoredTask, known: Known): Promise<number[]> {
  if (task.isSuspect) await task.recover();
  const had = [...task.pieces.indexes()];
  for (const piece of had) {
    const right = pieceOf(known.content, piece);
    const start = piece * PIECE_LENGTH;
    const bytes = await readAll(task, { start, end: start + right.length });
    assert.ok(bytes.equals(right), `${known.seed} has a wrong piece ${piece}`);
  }
  return had;
}

/** Opens what is left, looks at every byte, and fetches again what is gone. */
async function openAndRefill(
  directory: string,
  contents: ReadonlyMap<string, Known>,
  options: { readonly isTold: boolean },
): Promise<void> {
  await using store = await openStore(directory);
  let lost = 0;
  for (const [name, known] of contents) {
    const task = store.tasks().find((each) => each.name === name);
    const right = task === undefined ? [] : await rightPieces(task, known);
    const all = known.pieces?.length ?? Math.ceil(known.content.length / PIECE_LENGTH);
    lost += all - right.length;
  }
  const isSilent = lost > 0 && store.repairs.length === 0;
  assert.ok(!isSilent || !options.isTold, `${lost} pieces were lost and nothing was told`);
  for (const known of contents.values()) {
    const task = await begin(store, known);
    using _use = task.acquire();
    if (task.isSuspect) await task.recover();
    await fill(task, known.content);
    await task.setLength(known.content.length);
    if (task.sealed === undefined) await task.complete();
    assert.ok(task.isComplete, `${known.seed} is not complete`);
  }
}

/** One folder, made, damaged, opened, filled and opened again; throws at what does not hold. */
async function tryFolder(
  directory: string,
  random: SeededRandom,
  onDamage: (what: string) => void,
): Promise<void> {
  const contents = knownContents(random);
  await makeFolder(directory, contents, random);
  let isTold = true;
  for (let times = 1 + random.below(3); times > 0; times -= 1) {
    const what = await damage(directory, random);
    onDamage(what);
    // Rows that were in a log cut short, or gave way to older ones, look as if they had never been written.
    if (/(truncate|delete|folder|swap) .*(log|ldb)/.test(what)) isTold = false;
  }
  await openAndRefill(directory, contents, { isTold });
  await using again = await openStore(directory);
  assert.deepEqual(again.repairs, [], 'nothing is left to repair');
  for (const task of again.tasks()) {
    const known = contents.get(task.name);
    assert.ok(known !== undefined, 'a task that nobody made');
    assert.ok((await readAll(task)).equals(known.content), `${known.seed} when opened again`);
  }
}

test('PieceStore opens whatever became of its files, and serves no wrong byte', async (t) => {
  t.timeout(300_000);
  const failures: string[] = [];
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed += 1) {
    const folder = await temporaryFolder();
    const done: string[] = [];
    const onDamage = (what: string): void => void done.push(what);
    try {
      await tryFolder(join(folder, 'data'), new SeededRandom(seed), onDamage);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      failures.push(`seed ${seed} (${done.join(', ')}): ${why}`);
    } finally {
      await removeFolder(folder);
    }
  }
  t.deepEqual(failures, []);
});
