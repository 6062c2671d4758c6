import type { Level } from 'level';
import { mkdir, rm } from 'node:fs/promises';
import { CodedError } from '../base/error.ts';
import { freeBytes } from './capacity.ts';

/** One change of the journal; a batch of them is applied whole or not at all. */
export type JournalChange =
  | { readonly type: 'put'; readonly key: string; readonly value: string }
  | { readonly type: 'del'; readonly key: string };

/** Small: rows are short and rewritten often, and every byte of these counts for an idle daemon. */
const CACHE_BYTES = 1024 * 1024;
const WRITE_BUFFER_BYTES = 1024 * 1024;
/** Free space with which a journal that met a full disk can be written again. */
export const JOURNAL_ROOM_BYTES = WRITE_BUFFER_BYTES + 1;

type Database = Level;

/** The ordered rows of a data folder in `level`, held by one process at a time. */
export class Journal implements AsyncDisposable {
  readonly directory: string;
  /** True when the rows were damaged beyond reading and some or all of them are lost. */
  readonly wasRepaired: boolean;
  readonly #database: Database;
  /** Set after a failed write, until the database was opened anew. */
  #isTorn = false;
  #reopening: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  private constructor(directory: string, database: Database, wasRepaired: boolean) {
    this.directory = directory;
    this.#database = database;
    this.wasRepaired = wasRepaired;
  }

  /** Opens or creates; ERR_STORE_LOCKED when another process has it, ERR_STORE_IO otherwise. */
  static async open(directory: string): Promise<Journal> {
    // Imported late: reading outputs and policies of this folder must not cost the native add-on.
    const { Level } = await import('level');
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
    } catch (cause) {
      throw openError(cause, directory);
    }
    try {
      return new Journal(directory, await openDatabase(directory, Level), false);
    } catch (error) {
      if (levelCode(error) !== 'LEVEL_CORRUPTION') throw openError(error, directory);
    }
    return new Journal(directory, await openDamaged(directory, Level), true);
  }

  get(key: string): string | undefined {
    try {
      return this.#database.getSync(key);
    } catch (cause) {
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

  async close(): Promise<void> {
    this.#closed ??= this.#database.close();
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** LevelDB tells a full disk in words only, so the disk is asked. */
  async #writeError(cause: unknown): Promise<CodedError> {
    if (cause instanceof CodedError) return cause;
    const free = await freeBytes(this.directory).catch(() => Infinity);
    if (free >= JOURNAL_ROOM_BYTES) {
      return ioError('writing the journal failed', cause, this.directory);
    }
    return this.#isFull(free, cause);
  }

  #isFull(free: number, cause: unknown): CodedError {
    const detail = { directory: this.directory, freeBytes: free };
    return new CodedError('ERR_NO_SPACE', 'the disk of the journal is full', { cause, detail });
  }

  /** Opening reads the log up to its torn record and starts a new one. */
  async #reopen(): Promise<void> {
    if (this.#closed !== undefined) return;
    this.#reopening ??= (async () => {
      await this.#database.close();
      await this.#database.open();
      this.#isTorn = false;
    })().finally(() => (this.#reopening = undefined));
    await this.#reopening;
  }
}

/** Saves what can be read; failing that, starts anew: a cache without memory is better than no cache. */
async function openDamaged(directory: string, level: typeof Level): Promise<Database> {
  try {
    // Not in the types of the universal package, which also runs in browsers.
    if ('repair' in level && typeof level.repair === 'function') await level.repair(directory);
    return await openDatabase(directory, level);
  } catch (error) {
    if (levelCode(error) !== 'LEVEL_CORRUPTION') throw openError(error, directory);
  }
  try {
    await rm(directory, { recursive: true, force: true });
    return await openDatabase(directory, level);
  } catch (cause) {
    throw openError(cause, directory);
  }
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
  return { gte: prefix, lt: `${prefix}\u{10ffff}` };
}

/** The code under `LEVEL_DATABASE_NOT_OPEN`, or the error's own. */
function levelCode(error: unknown): string | undefined {
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
  return ioError('opening the journal failed', cause, directory);
}

function ioError(message: string, cause: unknown, directory: string): CodedError {
  const systemCode = levelCode(cause);
  return new CodedError('ERR_STORE_IO', message, {
    cause,
    detail: { directory, ...(systemCode === undefined ? {} : { systemCode }) },
  });
}
