import type { JournalChange } from './journal.ts';

/**
 * Coalesces the journal writes of one task: one is in flight, the next carries everything asked for meanwhile.
 * So a fast download costs as many writes as the disk can take, and no two writes of a task can overtake each other.
 */
export class RowWriter {
  readonly #write: (changes: readonly JournalChange[], durable: boolean) => Promise<void>;
  #changes: JournalChange[] = [];
  #durable = false;
  #current: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  /** `write` puts the task's row as it is at that moment, together with `changes`. */
  constructor(write: (changes: readonly JournalChange[], durable: boolean) => Promise<void>) {
    this.#write = write;
  }

  /** Resolves when a write that began after this call, and carries `changes`, is journalled. */
  async flush(
    changes: readonly JournalChange[] = [],
    options: { durable?: boolean } = {},
  ): Promise<void> {
    this.#changes.push(...changes);
    this.#durable ||= options.durable === true;
    this.#next ??= this.#writeNext();
    return this.#next;
  }

  /** Resolves when nothing is in flight; failures are those of who asked. */
  async idle(): Promise<void> {
    await (this.#next ?? this.#current).catch(() => undefined);
  }

  async #writeNext(): Promise<void> {
    await this.#current.catch(() => undefined);
    const changes = this.#changes;
    const durable = this.#durable;
    this.#changes = [];
    this.#durable = false;
    this.#next = undefined;
    const write = this.#write(changes, durable);
    this.#current = write;
    await write;
  }
}
