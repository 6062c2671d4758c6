/** What a cell must not forget, as ordered rows: members, keys, budgets, releases. One machine or many, one interface. */

/** One row: JSON under a key. */
export interface StateRow {
  readonly key: string;
  readonly value: unknown;
  /** The commit that wrote it, from 1; each commit of a store has a higher one. */
  readonly revision: number;
}

/** One change of a commit. */
export type StateChange =
  | { readonly type: 'put'; readonly key: string; readonly value: unknown }
  | { readonly type: 'del'; readonly key: string };

/** What must still be so for a commit to count: this row as this commit left it; 0: no such row. */
export interface Expectation {
  readonly key: string;
  readonly revision: number;
}

/** Keys from `gte` on, below `lt`, in the order of their UTF-8 bytes. */
export interface KeyRange {
  readonly gte: string;
  readonly lt: string;
}

/** What one commit changed, of what is watched. */
export interface StateCommit {
  readonly revision: number;
  readonly changes: readonly StateChange[];
}

/** Bounds of a store, whatever its driver. */
export const stateLimits = {
  /** Bytes of a key in UTF-8. */
  keyBytes: 1_024,
  /** Changes of one commit. */
  changes: 10_000,
  /** Commits that wait to be written. */
  waiting: 10_000,
  /** Commits that a watcher has not taken yet. */
  unwatched: 1_000,
};

/** Ordered rows that survive the death of the machine. Unlike a cache it is never repaired by dropping rows. */
export interface StateStore extends AsyncDisposable {
  /** The row as the last commit that has resolved left it; ERR_STORE_IO when it cannot be read. */
  get(key: string): Promise<StateRow | undefined>;

  /** The rows of a range as they are at one moment, last first with `reverse`. */
  range(
    range: KeyRange,
    options?: { readonly reverse?: boolean; readonly limit?: number },
  ): AsyncIterable<StateRow>;

  /**
   * Applies all changes or none. Resolves with the revision of the commit once it has survived the machine's death.
   * ERR_CONFLICT when something expected is no more so: read again, decide again. ERR_STORE_IO when it could not be
   * written, ERR_BUSY when too many wait, ERR_REQUEST for a key or a commit that is too long.
   */
  commit(
    changes: readonly StateChange[],
    options?: { readonly expect?: readonly Expectation[] },
  ): Promise<number>;

  /**
   * Every commit that changes something in the range, from this call on, in order. Who reads the range after this
   * call, and then leaves out changes whose revision is not above that of the row he read, misses nothing. Ends when
   * the store is closed, ERR_BUSY when the reader stays too far behind.
   */
  watch(
    range: KeyRange,
    options: { readonly signal: AbortSignal },
  ): AsyncIterableIterator<StateCommit>;

  /** Waits for what is being written; harmless when closed. */
  close(): Promise<void>;
}

/** All keys that begin with `prefix`, which must not be empty nor end with U+10FFFF. */
export function keysWith(prefix: string): KeyRange {
  return { gte: prefix, lt: `${prefix}\u{10ffff}` };
}

/** Whether a key is in a range, by the order of UTF-8, which is not that of JavaScript's strings. */
export function isInRange(key: string, { gte, lt }: KeyRange): boolean {
  const bytes = Buffer.from(key);
  return bytes.compare(Buffer.from(gte)) >= 0 && bytes.compare(Buffer.from(lt)) < 0;
}
