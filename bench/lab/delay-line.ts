import type { Clock } from '../../core/base/clock.ts';

/** Milliseconds are kept apart, finer than that timers cannot be. */
const TICK_MS = 1;

/** Holds items for a fixed time and then hands them on, in order; drops what does not fit. */
export class DelayLine<T> {
  readonly #clock: Clock;
  readonly #delayMs: number;
  readonly #deliver: (item: T) => void;
  readonly #maxHeld: number;
  #held: { readonly dueMs: number; readonly item: T }[] = [];
  #first = 0;
  #isWaiting = false;
  /** Items that found no room. */
  dropped = 0;

  constructor(
    options: { readonly clock: Clock; readonly delayMs: number; readonly maxHeld: number },
    deliver: (item: T) => void,
  ) {
    this.#clock = options.clock;
    this.#delayMs = options.delayMs;
    this.#maxHeld = options.maxHeld;
    this.#deliver = deliver;
  }

  get held(): number {
    return this.#held.length - this.#first;
  }

  push(item: T): void {
    if (this.held >= this.#maxHeld) {
      this.dropped += 1;
      return;
    }
    this.#held.push({ dueMs: this.#clock.monotonic() + this.#delayMs, item });
    this.#wait();
  }

  #wait(): void {
    if (this.#isWaiting || this.held === 0) return;
    this.#isWaiting = true;
    this.#clock.after(TICK_MS, () => {
      this.#isWaiting = false;
      this.#flush();
      this.#wait();
    });
  }

  #flush(): void {
    // A timer is on average half a tick late; going half a tick early makes up for it.
    const nowMs = this.#clock.monotonic() + TICK_MS / 2;
    for (;;) {
      const next = this.#held[this.#first];
      if (next === undefined || next.dueMs > nowMs) break;
      this.#first += 1;
      this.#deliver(next.item);
    }
    // Cutting off what is gone now and then costs less than shifting each time.
    if (this.#first * 2 > this.#held.length) {
      this.#held = this.#held.slice(this.#first);
      this.#first = 0;
    }
  }
}
