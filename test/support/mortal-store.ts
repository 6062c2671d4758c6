import type {
  Expectation,
  KeyRange,
  StateChange,
  StateCommit,
  StateRow,
  StateStore,
} from '../../core/store/state-store.ts';

/** When the process of a store is killed: as a commit is made, with it on the disk or not. */
export interface Death {
  readonly isOnDisk: boolean;
  /** True for the commit at which it happens. */
  readonly isNow: (changes: readonly StateChange[]) => boolean;
}

/**
 * The store of a process that is killed. From then on nothing is heard of anything that was asked of it, so that nothing
 * of what comes after happens: as if nobody were there. The rows are another's, who outlives it.
 */
export class MortalStore implements StateStore {
  readonly #rows: StateStore;
  readonly #death: Death;
  readonly #died = Promise.withResolvers<void>();
  #isDead = false;

  constructor(rows: StateStore, death: Death) {
    this.#rows = rows;
    this.#death = death;
  }

  /** Resolves when it was killed. */
  get died(): Promise<void> {
    return this.#died.promise;
  }

  /** Killed now, whatever it was doing. */
  kill(): void {
    this.#isDead = true;
    this.#died.resolve();
  }

  async get(key: string): Promise<StateRow | undefined> {
    return this.#alive(async () => this.#rows.get(key));
  }

  async *range(
    range: KeyRange,
    options: { readonly reverse?: boolean; readonly limit?: number } = {},
  ): AsyncGenerator<StateRow, void, undefined> {
    yield* await this.#alive(async () => Array.fromAsync(this.#rows.range(range, options)));
  }

  async commit(
    changes: readonly StateChange[],
    options: { readonly expect?: readonly Expectation[] } = {},
  ): Promise<number> {
    return this.#alive(async () => {
      if (!this.#death.isNow(changes)) return this.#rows.commit(changes, options);
      this.#isDead = true;
      if (this.#death.isOnDisk) await this.#rows.commit(changes, options);
      this.kill();
      return 0;
    });
  }

  watch(
    range: KeyRange,
    options: { readonly signal: AbortSignal },
  ): AsyncIterableIterator<StateCommit> {
    return this.#rows.watch(range, options);
  }

  async close(): Promise<void> {
    await this.#alive(async () => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #alive<T>(work: () => Promise<T>): Promise<T> {
    const never = new Promise<T>(() => undefined);
    if (this.#isDead) return never;
    try {
      const result = await work();
      return this.#isDead ? await never : result;
    } catch (error) {
      if (this.#isDead) return never;
      throw error;
    }
  }
}
