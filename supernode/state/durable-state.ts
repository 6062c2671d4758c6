import type { Level } from 'level';
import { mkdir } from 'node:fs/promises';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { refuseNewer, writeFormat } from '../../core/store/folder-format.ts';

/** Between two looks whether another process has let go of the state. */
const LOCK_POLL_MS = 100;

/** One change of the state; a batch of them is applied whole or not at all. */
export type StateChange =
  | { readonly type: 'put'; readonly key: string; readonly value: unknown }
  | { readonly type: 'del'; readonly key: string };

const VERSION_KEY = 'v';
const VERSION = 1;

/**
 * Rows of one folder of the supernode in `level`: members, budgets, warm-ups, what a cell must not forget. Every write
 * has survived the machine's death when it resolves. Unlike a cache it is never repaired by dropping rows: a lost
 * revocation would let somebody in again.
 */
export class DurableState implements AsyncDisposable {
  readonly #database: Level<string, unknown>;
  #lastUpdate: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | undefined;

  private constructor(database: Level<string, unknown>) {
    this.#database = database;
  }

  /**
   * Opens or creates it; ERR_STORE_LOCKED when another process has it, ERR_STORE_NEWER when a newer version wrote it,
   * else ERR_STORE_IO.
   */
  static async open(directory: string): Promise<DurableState> {
    const { Level } = await import('level');
    let database: Level<string, unknown> | undefined;
    // Before level opens it: that alone rewrites files, and what a newer version wrote is left as it is.
    await refuseNewer(directory);
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      database = new Level<string, unknown>(directory, { valueEncoding: 'json' });
      await database.open();
      await checkVersion(database, directory);
      await writeFormat(directory);
      return new DurableState(database);
    } catch (error) {
      await database?.close();
      throw error instanceof CodedError ? error : openError(error, directory);
    }
  }

  /** Opens it, waiting up to `waitMs` for another process (a `token create`, a former supernode) to let go. */
  static async openWhenFree(
    directory: string,
    options: { readonly clock: Clock; readonly waitMs: number },
  ): Promise<DurableState> {
    const { clock, waitMs } = options;
    const end = clock.monotonic() + waitMs;
    for (;;) {
      try {
        return await DurableState.open(directory);
      } catch (error) {
        const isLocked = error instanceof CodedError && error.code === 'ERR_STORE_LOCKED';
        if (!isLocked || clock.monotonic() >= end) throw error;
        await clock.sleep(LOCK_POLL_MS);
      }
    }
  }

  /** The value of a row as it was written, undefined where there is none. */
  get(key: string): unknown {
    try {
      return this.#database.getSync(key);
    } catch (cause) {
      throw new CodedError('ERR_STORE_IO', 'reading the state of the cell failed', { cause });
    }
  }

  /** The rows whose keys begin with `prefix`, in order of their keys, the prefix cut off. */
  async rows(prefix: string): Promise<{ readonly name: string; readonly value: unknown }[]> {
    try {
      const range = { gte: prefix, lt: `${prefix}\u{10ffff}` };
      const rows = await this.#database.iterator(range).all();
      return rows.map(([key, value]) => ({ name: key.slice(prefix.length), value }));
    } catch (cause) {
      throw new CodedError('ERR_STORE_IO', 'reading the state of the cell failed', { cause });
    }
  }

  /**
   * Runs `decide` when all earlier updates have ended, and applies the changes it gives; so what it read is still
   * true when its changes are written. Resolves with its result.
   */
  async update<T>(
    decide: () => Promise<{ readonly changes: readonly StateChange[]; readonly result: T }>,
  ): Promise<T> {
    const turn = this.#lastUpdate.then(async () => {
      const { changes, result } = await decide();
      if (changes.length > 0) await this.#write(changes);
      return result;
    });
    this.#lastUpdate = turn.catch(() => undefined);
    return turn;
  }

  /** Waits for updates under way; harmless when closed. */
  async close(): Promise<void> {
    this.#closed ??= this.#lastUpdate.then(async () => this.#database.close());
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #write(changes: readonly StateChange[]): Promise<void> {
    try {
      await this.#database.batch([...changes], { sync: true });
    } catch (cause) {
      throw new CodedError('ERR_STORE_IO', 'writing the state of the cell failed', { cause });
    }
  }
}

async function checkVersion(database: Level<string, unknown>, directory: string): Promise<void> {
  const version = await database.get(VERSION_KEY);
  if (version === VERSION) return;
  if (version === undefined) {
    await database.put(VERSION_KEY, VERSION);
    return;
  }
  throw new CodedError('ERR_STORE_NEWER', `${directory} was written by a newer version`, {
    detail: { directory },
  });
}

function openError(cause: unknown, directory: string): CodedError {
  for (let at = cause; at instanceof Error; at = at.cause) {
    if (systemCode(at) !== 'LEVEL_LOCKED') continue;
    return new CodedError('ERR_STORE_LOCKED', `another process uses ${directory}`, {
      cause,
      detail: { directory },
    });
  }
  const reason = cause instanceof Error ? deepest(cause).message : String(cause);
  return new CodedError('ERR_STORE_IO', `cannot open ${directory}: ${reason}`, {
    cause,
    detail: { directory },
  });
}

function deepest(error: Error): Error {
  return error.cause instanceof Error ? deepest(error.cause) : error;
}
