import type { Clock } from '../base/clock.ts';

/** Last access is journalled at most this often. */
const ACCESS_JOURNAL_MS = 60_000;
/** How long a task that was asked for waits for who asked. */
const RESERVED_MS = 10_000;

/** Who uses a task, and when it was last used. */
export class TaskUse {
  readonly #clock: Clock;
  readonly #onIdle: () => void;
  #count = 0;
  #reservedUntilMs = -Infinity;
  #accessedMs: number;
  #journalledMs: number;

  /** `onIdle` is called when the last use ends. */
  constructor(clock: Clock, options: { readonly accessedMs: number; readonly onIdle: () => void }) {
    this.#clock = clock;
    this.#onIdle = options.onIdle;
    this.#accessedMs = options.accessedMs;
    this.#journalledMs = options.accessedMs;
  }

  get isActive(): boolean {
    return this.#count > 0 || this.#clock.monotonic() < this.#reservedUntilMs;
  }

  /** Wall time of the last access, ms. */
  get accessedMs(): number {
    return this.#accessedMs;
  }

  get isJournalled(): boolean {
    return this.#accessedMs === this.#journalledMs;
  }

  /** Active until the first `acquire`, for ten seconds at most. */
  reserve(): void {
    this.#reservedUntilMs = this.#clock.monotonic() + RESERVED_MS;
  }

  acquire(): Disposable {
    this.#count += 1;
    this.#reservedUntilMs = -Infinity;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#count -= 1;
        this.#accessedMs = this.#clock.now();
        if (this.#count === 0) this.#onIdle();
      },
    };
  }

  /** Notes an access; true when it is time to journal it. */
  touch(): boolean {
    this.#accessedMs = this.#clock.now();
    return Math.abs(this.#accessedMs - this.#journalledMs) >= ACCESS_JOURNAL_MS;
  }

  /** A row with this time is in the journal. */
  journalled(accessedMs: number): void {
    this.#journalledMs = accessedMs;
  }
}
