import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { Log } from '../base/log.ts';
import type { PieceStore, StoredTask } from '../store/piece-store.ts';
import type { Reporter } from './reporter.ts';
import { keyOf } from './task-key.ts';
import type { TransferPool } from './transfer-pool.ts';

export interface KeptTasksParts {
  readonly store: PieceStore;
  readonly pool: TransferPool;
  readonly reporter: Reporter;
  readonly clock: Clock;
  readonly log: Log;
  /** Pieces that were had turned out not to be what they should. */
  onLost(task: StoredTask, pieces: readonly number[]): void;
}

/** What was hashed and found right is not hashed again for so long, whoever asks: hashing is costly. */
const PROVEN_MS = 60_000;

interface Kept {
  readonly stored: StoredTask;
  /** As the workers know it. */
  length: number | undefined;
}

/** What this host keeps and serves: made known to the workers, hashed again on doubt, forgotten with the store. */
export class KeptTasks {
  readonly #parts: KeptTasksParts;
  readonly #kept = new Map<string, Kept>();
  readonly #hashing = new Map<string, Promise<void>>();
  /** By the task itself: another begun under its name is another file. */
  readonly #proven = new WeakMap<StoredTask, number>();

  constructor(parts: KeptTasksParts) {
    this.#parts = parts;
  }

  /** Makes the task known to the workers; what they know already is not read from the journal again. */
  async serve(stored: StoredTask): Promise<void> {
    const { pool, reporter } = this.#parts;
    const key = keyOf(stored);
    const known = this.#kept.get(key);
    if (known?.stored === stored && known.length === stored.length) return;
    if (known !== undefined && known.stored !== stored) {
      // It was evicted and has begun anew under the same name.
      for (const piece of known.stored.pieces.indexes()) reporter.lost(stored, piece);
    }
    this.#kept.set(key, { stored, length: stored.length });
    await pool.putTask(stored);
    pool.keepManifest(stored, stored.manifest(), true);
  }

  /** Lets workers and supernode forget what the store has evicted; call it after anything may have been. */
  async forgetEvicted(): Promise<void> {
    const { store } = this.#parts;
    for (const { stored } of this.#kept.values()) {
      if (store.find(stored.taskId, stored.version) !== stored) await this.#forget(stored);
    }
  }

  /** Removes a task that nobody uses; ERR_TASK_IN_USE otherwise. */
  async remove(stored: StoredTask): Promise<void> {
    if (stored.inUse) {
      throw new CodedError('ERR_TASK_IN_USE', 'the task is in use', {
        detail: { task: stored.taskId, version: stored.version },
      });
    }
    await this.discard(stored);
  }

  /** Removes a task whoever uses it: its content is not what it should be. */
  async discard(stored: StoredTask): Promise<void> {
    await this.#forget(stored);
    await this.#parts.store.remove(stored);
  }

  /** False when the finished file is not what it was: what is wrong is dropped, to be fetched again. */
  async isIntact(stored: StoredTask): Promise<boolean> {
    if (stored.checkUnchanged() === 'same') return true;
    await this.#rehash(stored);
    return stored.isComplete;
  }

  /** Hashes a task again, in its own time, and withdraws what is not what the manifest says. */
  recheck(key: string): void {
    const { store, log, clock } = this.#parts;
    const [task = '', version = ''] = key.split('/');
    const stored = store.find(task, version);
    if (stored === undefined) return;
    const provenMs = this.#proven.get(stored) ?? Number.NEGATIVE_INFINITY;
    const isRecent = clock.monotonic() - provenMs < PROVEN_MS;
    if (isRecent && stored.checkUnchanged() === 'same') return;
    this.#rehash(stored).catch((error: unknown) => {
      log.error({ err: error, task }, 'rehash failed');
    });
  }

  /** Once for all who doubt it at the same time. */
  async #rehash(stored: StoredTask): Promise<void> {
    const key = keyOf(stored);
    const running = this.#hashing.get(key);
    if (running !== undefined) return running;
    const work = this.#hash(stored).finally(() => this.#hashing.delete(key));
    this.#hashing.set(key, work);
    return work;
  }

  async #hash(stored: StoredTask): Promise<void> {
    const { pool, log, reporter, clock } = this.#parts;
    const wrong = await stored.rehash();
    if (wrong.length > 0) {
      const facts = { task: stored.taskId, pieces: wrong.length };
      log.error(facts, 'stored pieces were altered on disk; they are withdrawn');
      pool.retract(stored, wrong);
      for (const piece of wrong) reporter.lost(stored, piece);
      this.#parts.onLost(stored, wrong);
    } else {
      if (stored.isComplete) await stored.complete();
      this.#proven.set(stored, clock.monotonic());
    }
    await pool.putTask(stored);
    // Who asked while it was in doubt was refused, and thinks that nothing of it is here.
    pool.announce(stored, [...stored.pieces.indexes()]);
  }

  async #forget(stored: StoredTask): Promise<void> {
    const { pool, reporter } = this.#parts;
    const key = keyOf(stored);
    if (this.#kept.get(key)?.stored === stored) {
      this.#kept.delete(key);
      await pool.dropTask(stored);
    }
    reporter.state(stored, { gone: true, active: false });
    // At once: were it registered anew before, it would be taken for gone after that.
    reporter.flush();
  }
}
