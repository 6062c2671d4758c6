import type { Level } from 'level';
import { mkdir } from 'node:fs/promises';
import type { Clock } from '../base/clock.ts';
import { CodedError, systemCode } from '../base/error.ts';
import { freeBytes } from './capacity.ts';
import { refuseNewer, writeFormat } from './folder-format.ts';
import { StateWatch } from './state-watch.ts';
import { stateLimits } from './state-store.ts';
import type {
  Expectation,
  KeyRange,
  StateChange,
  StateCommit,
  StateRow,
  StateStore,
} from './state-store.ts';

/** What is in the database under a key: value, and the commit that wrote it. */
interface StoredRow {
  readonly r: number;
  readonly v: unknown;
}

type Database = Level<string, StoredRow>;

interface WaitingCommit {
  readonly changes: readonly StateChange[];
  readonly expect: readonly Expectation[];
  readonly resolve: (revision: number) => void;
  readonly reject: (error: unknown) => void;
}

/** Between two looks whether another process has let go of the folder. */
const LOCK_POLL_MS = 100;
/** Free space with which a store that could not write is opened anew: level's write buffer, and what goes with it. */
const ROOM_BYTES = 5 * 1024 * 1024;
/** Commits that are written, and brought to the disk, together. */
const MAX_TOGETHER = 1_000;
const VERSION = 2;
/** Of the store itself: its version, and the revision of its last commit. Keys of rows begin with `r`. */
const VERSION_KEY = 'v';
const REVISION_KEY = 'n';
const ROW = 'r';

/** The rows of one folder in `level`, which one process has at a time. Commits that meet share one sync of the disk. */
export class LevelStateStore implements StateStore {
  readonly #directory: string;
  readonly #database: Database;
  readonly #watches = new Set<StateWatch>();
  #waiting: WaitingCommit[] = [];
  #revision: number;
  #writing: Promise<void> | undefined;
  /** Set after a failed write, until the database was opened anew. */
  #isTorn = false;
  #reopening: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  private constructor(database: Database, at: { directory: string; revision: number }) {
    const { directory, revision } = at;
    this.#directory = directory;
    this.#database = database;
    this.#revision = revision;
  }

  /**
   * Opens or creates it; ERR_STORE_LOCKED when another process has it, ERR_STORE_NEWER when another version wrote it,
   * else ERR_STORE_IO.
   */
  static async open(directory: string): Promise<LevelStateStore> {
    const { Level } = await import('level');
    let database: Database | undefined;
    // Before level opens it: that alone rewrites files, and what a newer version wrote is left as it is.
    await refuseNewer(directory);
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      database = new Level<string, StoredRow>(directory, { valueEncoding: 'json' });
      await database.open();
      const revision = await openVersion(database, directory);
      await writeFormat(directory);
      return new LevelStateStore(database, { directory, revision });
    } catch (error) {
      await database?.close();
      throw error instanceof CodedError ? error : openError(error, directory);
    }
  }

  /** Opens it, waiting up to `waitMs` for another process (a `token create`, a former supernode) to let go. */
  static async openWhenFree(
    directory: string,
    options: { readonly clock: Clock; readonly waitMs: number },
  ): Promise<LevelStateStore> {
    const { clock, waitMs } = options;
    const end = clock.monotonic() + waitMs;
    for (;;) {
      try {
        return await LevelStateStore.open(directory);
      } catch (error) {
        const isLocked = error instanceof CodedError && error.code === 'ERR_STORE_LOCKED';
        if (!isLocked || clock.monotonic() >= end) throw error;
        await clock.sleep(LOCK_POLL_MS);
      }
    }
  }

  async get(key: string): Promise<StateRow | undefined> {
    await this.#reopening;
    const stored = await reading(async () => this.#database.get(ROW + key));
    return stored === undefined ? undefined : { key, value: stored.v, revision: stored.r };
  }

  async *range(
    { gte, lt }: KeyRange,
    options: { readonly reverse?: boolean; readonly limit?: number } = {},
  ): AsyncGenerator<StateRow, void, undefined> {
    await this.#reopening;
    const iterator = await reading(async () =>
      this.#database.iterator({ gte: ROW + gte, lt: ROW + lt, ...options }),
    );
    try {
      for (;;) {
        const entry = await reading(async () => iterator.next());
        if (entry === undefined) return;
        const [key, { v: value, r: revision }] = entry;
        yield { key: key.slice(ROW.length), value, revision };
      }
    } finally {
      await iterator.close();
    }
  }

  async commit(
    changes: readonly StateChange[],
    { expect = [] }: { readonly expect?: readonly Expectation[] } = {},
  ): Promise<number> {
    checkCommit(changes);
    if (this.#closed !== undefined) throw new CodedError('ERR_STORE_IO', 'the state is closed');
    if (this.#waiting.length >= stateLimits.waiting) {
      throw new CodedError('ERR_BUSY', `${stateLimits.waiting} commits wait to be written`);
    }
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#waiting.push({ changes, expect, resolve, reject });
    this.#writing ??= this.#writeAll();
    return promise;
  }

  watch(
    range: KeyRange,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncIterableIterator<StateCommit> {
    const watch = new StateWatch(range, { signal, onEnd: () => this.#watches.delete(watch) });
    if (this.#closed === undefined && !signal.aborted) this.#watches.add(watch);
    else watch.end();
    return watch;
  }

  async close(): Promise<void> {
    this.#closed ??= this.#end();
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #end(): Promise<void> {
    await this.#writing;
    for (const watch of this.#watches) watch.end();
    await this.#database.close();
  }

  async #writeAll(): Promise<void> {
    // What is asked for in one turn of the event loop is written together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const together = this.#waiting.splice(0, MAX_TOGETHER);
      try {
        await this.#mend();
        await this.#write(together);
      } catch (cause) {
        // A record cut short would shadow later ones when the log is read again.
        this.#isTorn = true;
        const error = new CodedError('ERR_STORE_IO', 'writing the state failed', { cause });
        for (const { reject } of together) reject(error);
      }
    }
    this.#writing = undefined;
  }

  /**
   * Opens the rows anew after a write that failed; throws while there is no room for that. To close them on a full disk
   * would be to lose them, also for readers: opening writes.
   */
  async #mend(): Promise<void> {
    if (!this.#isTorn) return;
    const free = await freeBytes(this.#directory);
    if (free < ROOM_BYTES) {
      throw new CodedError('ERR_NO_SPACE', 'the disk of the state is full', {
        detail: { directory: this.#directory, freeBytes: free },
      });
    }
    const reopened = this.#reopen();
    this.#reopening = reopened.catch(() => undefined);
    await reopened;
  }

  /** Opening reads the log up to its torn record and starts a new one. */
  async #reopen(): Promise<void> {
    await this.#database.close();
    await this.#database.open();
    const revision = (await this.#database.get(REVISION_KEY))?.r ?? 0;
    if (revision !== this.#revision) {
      // What was said to have failed had reached the disk, and no watcher was told.
      const error = new CodedError('ERR_STORE_IO', 'a commit of unknown outcome is there');
      for (const watch of this.#watches) watch.end(error);
    }
    this.#revision = revision;
    this.#isTorn = false;
  }

  /** Decides in order which of them count, and writes those at once. */
  async #write(together: readonly WaitingCommit[]): Promise<void> {
    const revisions = await this.#revisionsOf(together);
    const rows = new Map<string, StoredRow | undefined>();
    const done: [commit: WaitingCommit, revision: number][] = [];
    const refused: [commit: WaitingCommit, key: string][] = [];
    let last = this.#revision;
    for (const commit of together) {
      const stale = commit.expect.find(({ key, revision }) => revisions.get(key) !== revision);
      if (stale !== undefined) {
        refused.push([commit, stale.key]);
        continue;
      }
      if (commit.changes.length > 0) last += 1;
      for (const change of commit.changes) {
        rows.set(change.key, change.type === 'put' ? { r: last, v: change.value } : undefined);
        revisions.set(change.key, change.type === 'put' ? last : 0);
      }
      done.push([commit, last]);
    }
    if (rows.size > 0) await this.#database.batch(batchOf(rows, last), { sync: true });
    this.#revision = last;
    for (const [commit, key] of refused) {
      commit.reject(new CodedError('ERR_CONFLICT', `row ${key} has changed meanwhile`));
    }
    for (const [{ changes, resolve }, revision] of done) {
      resolve(revision);
      if (changes.length === 0) continue;
      for (const watch of this.#watches) watch.offer({ revision, changes });
    }
  }

  async #revisionsOf(commits: readonly WaitingCommit[]): Promise<Map<string, number>> {
    const keys = [...new Set(commits.flatMap(({ expect }) => expect.map(({ key }) => key)))];
    if (keys.length === 0) return new Map();
    const rows = await this.#database.getMany(keys.map((key) => ROW + key));
    return new Map(keys.map((key, at) => [key, rows[at]?.r ?? 0]));
  }
}

type DatabaseChange =
  | { readonly type: 'put'; readonly key: string; readonly value: StoredRow }
  | { readonly type: 'del'; readonly key: string };

function batchOf(
  rows: ReadonlyMap<string, StoredRow | undefined>,
  revision: number,
): DatabaseChange[] {
  const changes = [...rows].map(([name, value]): DatabaseChange => {
    const key = ROW + name;
    return value === undefined ? { type: 'del', key } : { type: 'put', key, value };
  });
  return [...changes, { type: 'put', key: REVISION_KEY, value: { r: revision, v: null } }];
}

function checkCommit(changes: readonly StateChange[]): void {
  if (changes.length > stateLimits.changes) {
    const message = `a commit has at most ${stateLimits.changes} changes, not ${changes.length}`;
    throw new CodedError('ERR_REQUEST', message);
  }
  for (const { key } of changes) {
    const length = Buffer.byteLength(key);
    if (length > 0 && length <= stateLimits.keyBytes) continue;
    const message = `a key has 1 to ${stateLimits.keyBytes} bytes, not ${length}`;
    throw new CodedError('ERR_REQUEST', message);
  }
}

async function reading<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw new CodedError('ERR_STORE_IO', 'reading the state failed', { cause });
  }
}

/** The revision of the last commit; makes a new store one of this version. */
async function openVersion(database: Database, directory: string): Promise<number> {
  const version = await database.get(VERSION_KEY);
  if (version === undefined) {
    await database.put(VERSION_KEY, { r: 0, v: VERSION }, { sync: true });
    return 0;
  }
  if (version.v === VERSION) return (await database.get(REVISION_KEY))?.r ?? 0;
  throw new CodedError('ERR_STORE_NEWER', `${directory} was written by another version`, {
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
