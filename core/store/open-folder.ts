/** Opening a data folder: its format, its rows, and making both fit for what is on disk. */
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../base/error.ts';
import type { Bitfield } from '../piece/bitfield.ts';
import {
  createDataFile,
  dataFileFacts,
  isSameFile,
  makeFolder,
  mendDataFile,
  removeDataFile,
} from './data-file.ts';
import type { FileFacts } from './data-file.ts';
import { folderError } from './folder-format.ts';
import { Journal } from './journal.ts';
import type { JournalChange } from './journal.ts';
import {
  bitsOfRow,
  encodeTaskRow,
  isTaskName,
  MANIFEST_PREFIX,
  parseManifestKey,
  parseTaskRow,
  TASK_PREFIX,
  taskKey,
  taskName,
} from './task-row.ts';
import { hasRow } from './row-runs.ts';
import { withoutSum } from './row-sum.ts';
import type { TaskRow } from './task-row.ts';

/** Something that was not as it should be and was put right. */
export interface Repair {
  readonly kind:
    | 'format-damaged'
    | 'journal-damaged'
    | 'row-malformed'
    | 'row-orphan'
    | 'file-missing'
    | 'file-short'
    | 'file-orphan'
    | 'file-altered'
    | 'machine-died';
  /** Key of the row or name of the task. */
  readonly name: string;
  /** Pieces that were had and are lost, or must be hashed again. */
  readonly pieces: number;
}

/** A task found in the folder. */
export interface FoundTask {
  readonly row: TaskRow;
  readonly path: string;
  /** False when there is no data file; the row claims no pieces then. */
  readonly hasFile: boolean;
}

const MAX_FILES_AT_ONCE = 64;

/** Makes the folders, readable by their owner only; one that exists keeps its mode, what is in it does not. */
export async function makeFolders(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await makeFolder(join(directory, 'tasks'));
  } catch (cause) {
    throw folderError(directory, cause);
  }
}

/** Where the data file of a task is. */
export function dataPath(directory: string, name: string): string {
  return join(directory, 'tasks', name.slice(0, 3), `${name}.data`);
}

/** Reads all tasks and repairs what rows and files disagree on; every repair is told to `onRepair`. */
export async function findTasks(
  journal: Journal,
  options: {
    readonly directory: string;
    readonly bootId: string | undefined;
    readonly onRepair: (repair: Repair) => void;
  },
): Promise<FoundTask[]> {
  const { directory, bootId, onRepair } = options;
  const { rows, changes } = await readSoundRows(journal, onRepair);
  const { wasDamaged } = journal;
  // Rows of one task are written and deleted together, so orphans come of damage only.
  if (changes.length > 0 || wasDamaged) {
    changes.push(...(await orphanRows(journal, { rows, onRepair })));
  }
  const checked: CheckedTask[] = [];
  for await (const [row, facts] of withFacts(directory, rows)) {
    const task = checkTask(row, { facts, bootId, wasDamaged, onRepair });
    checked.push(task);
    if (task.isChanged) changes.push(putRow(task.row));
  }
  // Rows first: a new empty file under a row that claims pieces would be a lie if the machine died between.
  if (changes.length > 0) await journal.write(changes, { durable: true });
  const found = await mendAll(journal, directory, checked);
  await removeOrphans(directory, rows, onRepair);
  return found;
}

async function mendAll(
  journal: Journal,
  directory: string,
  checked: readonly CheckedTask[],
): Promise<FoundTask[]> {
  const found: FoundTask[] = [];
  for (let from = 0; from < checked.length; from += MAX_FILES_AT_ONCE) {
    const some = checked.slice(from, from + MAX_FILES_AT_ONCE).map(async ({ row, file }) => {
      const path = dataPath(directory, taskName(row));
      // Thousands may be gone at once, and most are never wanted again: each is made when its task begins anew.
      if (file === 'gone' && row.length !== 0) return { row, path, hasFile: false };
      const mended = file === 'fit' ? row : await mend(journal, { row, path });
      return { row: mended, path, hasFile: true };
    });
    found.push(...(await Promise.all(some)));
  }
  return found;
}

function putRow(row: TaskRow): JournalChange {
  return { type: 'put', key: taskKey(taskName(row)), value: encodeTaskRow(row) };
}

/** Makes the data file fit for writing; the row that fits it then, without pieces if they could not be kept. */
async function mend(
  journal: Journal,
  task: { readonly row: TaskRow; readonly path: string },
): Promise<TaskRow> {
  // Mending changes the file, so it is no longer what the row remembers.
  if (await mendDataFile(task.path, task.row.length)) return { ...task.row, rested: undefined };
  const row = withoutPieces(task.row);
  if (claimsBytes(task.row)) await journal.write([putRow(row)], { durable: true });
  await createDataFile(task.path, row.length ?? 0);
  return row;
}

/** The rows of a journal that may be damaged: then they are saved into a new one first. */
async function readSoundRows(
  journal: Journal,
  onRepair: (repair: Repair) => void,
): Promise<FoundRows> {
  let found = await readRows(journal).catch((error: unknown) => {
    if (Journal.isDamage(error)) return undefined;
    throw error;
  });
  if (found === undefined || found.altered.length > 0) {
    for (const name of found?.altered ?? []) onRepair({ kind: 'row-malformed', name, pieces: 0 });
    await journal.salvage();
    found = await readRows(journal);
  }
  if (journal.wasDamaged) onRepair({ kind: 'journal-damaged', name: 'journal', pieces: 0 });
  for (const { key } of found.changes) onRepair({ kind: 'row-malformed', name: key, pieces: 0 });
  return found;
}

interface FoundRows {
  readonly rows: Map<string, TaskRow>;
  /** Deletions of rows that were written so and cannot be understood. */
  readonly changes: JournalChange[];
  /** Keys of rows that are not what was written. */
  readonly altered: string[];
}

async function readRows(journal: Journal): Promise<FoundRows> {
  const found: FoundRows = { rows: new Map(), changes: [], altered: [] };
  for await (const [key, value] of journal.rows(TASK_PREFIX)) {
    const row = parseTaskRow(key, value);
    if (row !== undefined) found.rows.set(taskName(row), row);
    else if (withoutSum(key, value) === undefined) found.altered.push(key);
    else found.changes.push({ type: 'del', key });
  }
  return found;
}

/** Deletions of manifest rows that no task lists. */
async function orphanRows(
  journal: Journal,
  found: {
    readonly rows: ReadonlyMap<string, TaskRow>;
    readonly onRepair: (repair: Repair) => void;
  },
): Promise<JournalChange[]> {
  const changes: JournalChange[] = [];
  for await (const key of journal.keys(MANIFEST_PREFIX)) {
    const { name = '', sequence = -1 } = parseManifestKey(key) ?? {};
    if (hasRow(found.rows.get(name)?.manifestRows ?? [], sequence)) continue;
    changes.push({ type: 'del', key });
    found.onRepair({ kind: 'row-orphan', name: key, pieces: 0 });
  }
  return changes;
}

async function* withFacts(
  directory: string,
  rows: ReadonlyMap<string, TaskRow>,
): AsyncGenerator<readonly [TaskRow, FileFacts | undefined]> {
  const all = [...rows];
  for (let from = 0; from < all.length; from += MAX_FILES_AT_ONCE) {
    const some = all.slice(from, from + MAX_FILES_AT_ONCE);
    yield* await Promise.all(
      some.map(
        async ([name, row]) => [row, await dataFileFacts(dataPath(directory, name))] as const,
      ),
    );
  }
}

interface CheckedTask {
  readonly row: TaskRow;
  /** True when the row is not what the journal has and that would be a lie. */
  readonly isChanged: boolean;
  /** `unfit` must be mended before anybody writes to it. */
  readonly file: 'fit' | 'unfit' | 'gone';
}

function checkTask(
  row: TaskRow,
  seen: {
    readonly facts: FileFacts | undefined;
    readonly bootId: string | undefined;
    readonly wasDamaged: boolean;
    readonly onRepair: (repair: Repair) => void;
  },
): CheckedTask {
  const { facts, onRepair } = seen;
  const had = bitsOfRow(row);
  const note = (kind: Repair['kind'], pieces: number): void =>
    onRepair({ kind, name: taskName(row), pieces });
  if (facts === undefined) {
    const isNews = claimsBytes(row);
    if (isNews) note('file-missing', had.count);
    return { row: withoutPieces(row), isChanged: isNews, file: 'gone' };
  }
  const lost = losePiecesPast(facts.size, { row, had });
  if (lost > 0 || (row.length !== undefined && facts.size < row.length)) {
    note('file-short', lost);
    // Who cut it may have done more to it.
    const isSuspect = row.isSuspect || suspicionOf(row, { ...seen, facts }) !== undefined;
    const left = { ...row, had: had.bytes, sealed: undefined, rested: undefined, isSuspect };
    return { row: left, isChanged: true, file: 'unfit' };
  }
  const suspicion = suspicionOf(row, { ...seen, facts });
  if (had.count > 0 && suspicion !== undefined) note(suspicion, had.count);
  const isSuspect = row.isSuspect || suspicion !== undefined || isTorn(facts.size, { row, had });
  const isLong = row.length !== undefined && facts.size > row.length;
  // What is missing will be written, and must not be written into an output.
  const isFit = !isLong && (facts.links === 1 || (row.length !== undefined && had.isFull));
  return { row: { ...row, isSuspect }, isChanged: false, file: isFit ? 'fit' : 'unfit' };
}

/** Why the bytes of a file of the right size may not be what the row says. */
function suspicionOf(
  row: TaskRow,
  seen: {
    readonly facts: FileFacts;
    readonly bootId: string | undefined;
    readonly wasDamaged: boolean;
  },
): 'file-altered' | 'machine-died' | 'journal-damaged' | undefined {
  const { facts, bootId, wasDamaged } = seen;
  const { boot } = row;
  const was = row.sealed ?? row.rested;
  if (was !== undefined && !isSameFile(facts, was)) return 'file-altered';
  if (boot !== undefined && bootId !== undefined && boot !== bootId) return 'machine-died';
  // An older row may have come back, and claims pieces that were lost since.
  if (wasDamaged && was === undefined) return 'journal-damaged';
  return undefined;
}

interface RowBits {
  readonly row: TaskRow;
  readonly had: Bitfield;
}

/** Clears the bits of pieces that a file of `size` cannot hold, and counts them. */
function losePiecesPast(size: number, { row, had }: RowBits): number {
  let lost = 0;
  for (const piece of had.indexes()) {
    const start = piece * row.pieceLength;
    const end = Math.min(start + row.pieceLength, row.length ?? start + 1);
    if (end > size && had.clear(piece)) lost += 1;
  }
  return lost;
}

/** True when the file of unknown length ends inside a piece: that may be the last piece, or half of one. */
function isTorn(size: number, { row, had }: RowBits): boolean {
  if (row.length !== undefined || size % row.pieceLength === 0) return false;
  return had.has(Math.floor(size / row.pieceLength));
}

function withoutPieces(row: TaskRow): TaskRow {
  const nothing = { sealed: undefined, rested: undefined, boot: undefined, isSuspect: false };
  return { ...row, ...nothing, had: new Uint8Array(0) };
}

/** True when the row says of bytes that they are there. */
function claimsBytes({ had, sealed }: TaskRow): boolean {
  return sealed !== undefined || had.some((byte) => byte !== 0);
}

/** Data files without a row are removed; names that are not ours are left alone. */
async function removeOrphans(
  directory: string,
  rows: ReadonlyMap<string, TaskRow>,
  onRepair: (repair: Repair) => void,
): Promise<void> {
  const tasks = join(directory, 'tasks');
  for (const prefix of await namesIn(tasks)) {
    if (!/^[0-9a-f]{3}$/.test(prefix)) continue;
    for (const file of await namesIn(join(tasks, prefix))) {
      const [, name = '', temporary] = /^(.*)\.data(\.tmp)?$/.exec(file) ?? [];
      if (!isTaskName(name) || !name.startsWith(prefix)) continue;
      if (temporary === undefined && rows.has(name)) continue;
      await removeDataFile(join(tasks, prefix, file));
      onRepair({ kind: 'file-orphan', name: file, pieces: 0 });
    }
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (cause) {
    if (systemCode(cause) === 'ENOTDIR') return [];
    throw folderError(folder, cause);
  }
}
