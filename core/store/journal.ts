import type { Level } from 'level';
import { mkdir, rename, rm } from 'node:fs/promises';
import { CodedError, systemCode } from '../base/error.ts';
import { freeBytes } from './capacity.ts';
import {
  clearStrangers,
  hasLostItsStart,
  isUsable,
  repairFolder,
  toldOfLosses,
} from './journal-repair.ts';
import { keepReserve, releaseReserve } from './journal-reserve.ts';
import { withoutSum } from './row-sum.ts';

/** One change of the journal; a batch of them is applied whole or not at all. */
export type JournalChange =
  | { readonly type: 'put'; readonly key: string; readonly value: string }
  | { readonly type: 'del'; readonly key: string };

/** Small: rows are short and rewritten often, and every byte of these counts for an idle daemon. */
const CACHE_BYTES = 1024 * 1024;
const WRITE_BUFFER_BYTES = 1024 * 1024;
/** Free space with which a journal that met a full disk can be written again. */
export const JOURNAL_ROOM_BYTES = WRITE_BUFFER_BYTES + 1;
/** What opening may write: the rows of the log into a table, and new files in place of three others. */
const OPENING_BYTES = 2 * WRITE_BUFFER_BYTES;
/** Rows that were overwritten or deleted may take as much as those that are there, and this: rewriting them is not free. */
const COMPACT_SLACK_BYTES = 8 * 1024 * 1024;
/** Rows of a journal are put into a new one in batches of so many characters. */
const SALVAGE_BATCH = 1024 * 1024;
/** What level says of rows that it cannot read. */
const DAMAGED = 'LEVEL_CORRUPTION';
/** Before and after every key of ours. */
const FIRST_KEY = ' ';
const LAST_KEY = '\u{10ffff}';

type Database = Level;

/** Calls of the native database that are not in the types of the universal package. */
interface Compactable {
  approximateSize(start: string, end: string): Promise<number>;
  compactRange(start: string, end: string): Promise<void>;
}

/** The ordered rows of a data folder in `level`, held by one process at a time. */
export class Journal implements AsyncDisposable {
  readonly directory: string;
  #database: Database;
  #wasDamaged: boolean;
  /** Set after a failed write, until the database was opened anew. */
  #isTorn = false;
  #reopening: Promise<void> | undefined;
  #compacting: Promise<void> = Promise.resolve();
  /** What the rows took when nothing else was with them; 0: not known yet. */
  #compactBytes = 0;
  #closed: Promise<void> | undefined;

  private constructor(directory: string, database: Database, wasDamaged: boolean) {
    this.directory = directory;
    this.#database = database;
    this.#wasDamaged = wasDamaged;
  }

  /**
   * Opens or creates; ERR_STORE_LOCKED when another process has it, ERR_NO_SPACE when the disk is full and what is kept
   * for that was not enough, ERR_STORE_IO otherwise.
   */
  static async open(directory: string): Promise<Journal> {
    // Imported late: reading outputs and policies of this folder must not cost the native add-on.
    const { Level } = await import('level');
    try {
      const hadStrangers = await makeFolder(directory);
      await releaseReserve(directory, OPENING_BYTES);
      if (await hasLostItsStart(directory)) return await Journal.#openDamaged(directory, Level);
      const database = await openDatabase(directory, Level);
      return new Journal(directory, database, hadStrangers || (await toldOfLosses(directory)));
    } catch (error) {
      const isDamage = !isLocked(error) && (await isUsable(directory, JOURNAL_ROOM_BYTES));
      if (!isDamage) throw openError(error, directory);
    }
    return await Journal.#openDamaged(directory, Level);
  }

  /** Saves what can be read; failing that, starts anew: a cache without memory is better than no cache. */
  static async #openDamaged(directory: string, level: typeof Level): Promise<Journal> {
    try {
      await repairFolder(directory, level);
      const journal = new Journal(directory, await openDatabase(directory, level), true);
      await journal.salvage();
      return journal;
    } catch (error) {
      if (isLocked(error)) throw openError(error, directory);
    }
    try {
      await rm(directory, { recursive: true, force: true });
      await makeFolder(directory);
      return new Journal(directory, await openDatabase(directory, level), true);
    } catch (cause) {
      throw openError(cause, directory);
    }
  }

  /** True when rows may be lost, or older than what was last written. */
  get wasDamaged(): boolean {
    return this.#wasDamaged;
  }

  /**
   * Puts every row that is what was written into a new journal, and leaves the rest behind: a damaged one may hold keys
   * that are in no order, and cannot even be deleted. ERR_STORE_IO.
   */
  async salvage(): Promise<void> {
    this.#wasDamaged = true;
    const { Level } = await import('level');
    const { directory } = this;
    const fresh = `${directory}.new`;
    try {
      await rm(fresh, { recursive: true, force: true });
      const database = await openDatabase(fresh, Level);
      try {
        await copyRows(this.#database, database);
      } finally {
        await database.close();
        await this.#database.close();
      }
      await rm(directory, { recursive: true, force: true });
      await rename(fresh, directory);
      this.#database = await openDatabase(directory, Level);
    } catch (cause) {
      throw openError(cause, directory);
    }
  }

  /** True when a row cannot be read, or is not what was written. Read them again after `salvage()`. */
  static isDamage(error: unknown): boolean {
    return error instanceof CodedError && error.detail['systemCode'] === DAMAGED;
  }

  /** Undefined when there is no such row, or none that can be read. */
  get(key: string): string | undefined {
    try {
      return this.#database.getSync(key);
    } catch (cause) {
      if (levelCode(cause) === DAMAGED) return undefined;
      throw ioError('reading the journal failed', cause, this.directory);
    }
  }

  /** Rows with keys in `[prefix, prefix + highest)`, in order. */
  async *rows(prefix: string): AsyncGenerator<readonly [string, string]> {
    try {
      yield* this.#database.iterator(rangeOf(prefix));
    } catch (cause) {
      throw ioError('reading the journal failed', cause, this.directory);
    }
  }

  async *keys(prefix: string): AsyncGenerator<string> {
    try {
      yield* this.#database.keys(rangeOf(prefix));
    } catch (cause) {
      throw ioError('reading the journal failed', cause, this.directory);
    }
  }

  /** Applies all changes or none; `durable` also waits until they survive the machine's death. ERR_NO_SPACE or ERR_STORE_IO. */
  async write(
    changes: readonly JournalChange[],
    options: { durable?: boolean } = {},
  ): Promise<void> {
    try {
      await this.mend();
      await this.#database.batch([...changes], { sync: options.durable === true });
    } catch (cause) {
      // A record cut short would shadow later ones when the log is read again.
      this.#isTorn = true;
      throw await this.#writeError(cause);
    }
  }

  /**
   * Opens the rows anew after a write that failed; ERR_NO_SPACE while there is no room for that. To close them on a
   * full disk would be to lose them: opening writes.
   */
  async mend(): Promise<void> {
    if (!this.#isTorn) return;
    const free = await freeBytes(this.directory);
    if (free < JOURNAL_ROOM_BYTES) throw this.#isFull(free, undefined);
    await this.#reopen();
  }

  /**
   * Gives back what overwritten and deleted rows take, once that may be more than what is kept; call it now and then.
   * Level does so by itself only where it happens to write again. Writing goes on meanwhile.
   */
  async compact(): Promise<void> {
    const database: Database = this.#database;
    if (this.#closed !== undefined || !isCompactable(database)) return;
    const compacting = this.#compacting.then(() => this.#compact(database));
    this.#compacting = compacting.catch(() => undefined);
    await compacting;
    await this.keepReserve();
  }

  /** Keeps room on the disk, if there is some, in which these rows can be opened when it is full. Throws nothing. */
  async keepReserve(): Promise<void> {
    if (this.#closed === undefined && !this.#isTorn) await keepReserve(this.directory);
  }

  async close(): Promise<void> {
    // Level must not be closed under a compaction.
    this.#closed ??= this.#compacting.then(() => this.#database.close());
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #compact(database: Compactable): Promise<void> {
    if (this.#closed !== undefined || this.#isTorn) return;
    try {
      const bytes = await database.approximateSize(FIRST_KEY, LAST_KEY);
      if (bytes < 2 * this.#compactBytes + COMPACT_SLACK_BYTES) return;
      await database.compactRange(FIRST_KEY, LAST_KEY);
      this.#compactBytes = await database.approximateSize(FIRST_KEY, LAST_KEY);
    } catch (cause) {
      throw ioError('compacting the journal failed', cause, this.directory);
    }
  }

  /** LevelDB tells a full disk in words, if at all; and by now it may have room again, by a log that was given free. */
  async #writeError(cause: unknown): Promise<CodedError> {
    if (cause instanceof CodedError) return cause;
    const free = await freeBytes(this.directory).catch(() => Infinity);
    if (free >= JOURNAL_ROOM_BYTES && !saysFull(cause)) {
      return ioError('writing the journal failed', cause, this.directory);
    }
    return this.#isFull(free, cause);
  }

  #isFull(free: number, cause: unknown): CodedError {
    return fullError(cause, { directory: this.directory, freeBytes: free });
  }

  /** Opening reads the log up to its torn record and starts a new one. */
  async #reopen(): Promise<void> {
    if (this.#closed !== undefined) return;
    this.#reopening ??= (async () => {
      await this.#compacting;
      await this.#database.close();
      await this.#database.open();
      this.#isTorn = false;
    })().finally(() => (this.#reopening = undefined));
    await this.#reopening;
  }
}

/** Makes the folder; true when something was in it, or in its place, that level would stumble over. */
async function makeFolder(directory: string): Promise<boolean> {
  let isDamaged = false;
  await mkdir(directory, { recursive: true, mode: 0o700 }).catch(async (error: unknown) => {
    if (systemCode(error) !== 'EEXIST') throw error;
    isDamaged = true;
    await rm(directory, { force: true });
    await mkdir(directory, { mode: 0o700 });
  });
  return (await clearStrangers(directory)) || isDamaged;
}

/** Copies rows that are what was written; ends where no more can be read. */
async function copyRows(from: Database, to: Database): Promise<void> {
  let batch: { type: 'put'; key: string; value: string }[] = [];
  let length = 0;
  const flush = async (): Promise<void> => {
    await to.batch(batch);
    batch = [];
    length = 0;
  };
  const rows = from.iterator()[Symbol.asyncIterator]();
  for (;;) {
    const next = await rows.next().catch((error: unknown) => {
      if (levelCode(error) === DAMAGED) return { done: true as const, value: undefined };
      throw error;
    });
    if (next.done === true) break;
    const [key, value] = next.value;
    if (withoutSum(key, value) === undefined) continue;
    batch.push({ type: 'put', key, value });
    length += value.length;
    if (length >= SALVAGE_BATCH) await flush();
  }
  await flush();
}

function isCompactable(database: Database): database is Database & Compactable {
  return 'compactRange' in database && 'approximateSize' in database;
}

function isLocked(error: unknown): boolean {
  return levelCode(error) === 'LEVEL_LOCKED';
}

async function openDatabase(directory: string, level: typeof Level): Promise<Database> {
  const database: Database = new level(directory, {
    keyEncoding: 'utf8',
    valueEncoding: 'utf8',
    cacheSize: CACHE_BYTES,
    writeBufferSize: WRITE_BUFFER_BYTES,
  });
  try {
    await database.open();
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

function rangeOf(prefix: string): { gte: string; lt: string } {
  return { gte: prefix, lt: prefix + LAST_KEY };
}

/** The code under `LEVEL_DATABASE_NOT_OPEN`, or the error's own. */
function levelCode(error: unknown): string | undefined {
  // Reading behind the end of a table that was cut is told in words only: no disk that fails says so.
  if (error instanceof Error && error.message.endsWith(': Invalid argument')) return DAMAGED;
  for (let at = error; at instanceof Error; at = at.cause) {
    if ('code' in at && typeof at.code === 'string' && at.code !== 'LEVEL_DATABASE_NOT_OPEN') {
      return at.code;
    }
  }
  return undefined;
}

function openError(cause: unknown, directory: string): CodedError {
  if (levelCode(cause) === 'LEVEL_LOCKED') {
    return new CodedError('ERR_STORE_LOCKED', 'another process uses the data folder', {
      cause,
      detail: { directory },
    });
  }
  if (saysFull(cause)) return fullError(cause, { directory });
  return ioError('opening the journal failed', cause, directory);
}

function fullError(
  cause: unknown,
  detail: { readonly directory: string; readonly freeBytes?: number },
): CodedError {
  return new CodedError('ERR_NO_SPACE', 'the disk of the journal is full', { cause, detail });
}

function ioError(message: string, cause: unknown, directory: string): CodedError {
  const code = levelCode(cause);
  return new CodedError('ERR_STORE_IO', message, {
    cause,
    detail: { directory, ...(code === undefined ? {} : { systemCode: code }) },
  });
}

/** True when an error, or one that it comes from, is about a full disk. */
function saysFull(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error.message.includes('No space left on device') || saysFull(error.cause);
}
