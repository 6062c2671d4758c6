import type { Clock } from '../base/clock.ts';

/** A token bucket in bytes: `take` resolves when the bytes may pass, in the order of asking. */
export class RateLimiter {
  readonly #clock: Clock;
  #bytesPerSecond: number;
  /** Monotonic ms at which everything granted so far has been paid for. */
  #paidUntilMs = 0;

  /** `bytesPerSecond` 0 means no limit. */
  constructor(bytesPerSecond: number, clock: Clock) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#clock = clock;
  }

  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  setRate(bytesPerSecond: number): void {
    this.#bytesPerSecond = bytesPerSecond;
    this.#paidUntilMs = Math.min(this.#paidUntilMs, this.#clock.monotonic() + 1000);
  }

  /** Milliseconds the caller must wait before passing `bytes`; the bytes count as passed. */
  reserve(bytes: number): number {
    if (this.#bytesPerSecond <= 0) return 0;
    const now = this.#clock.monotonic();
    // Up to 50 ms of unused rate may be spent at once: enough to hide timer jitter, too little to burst.
    const start = Math.max(this.#paidUntilMs, now - 50);
    this.#paidUntilMs = start + (bytes / this.#bytesPerSecond) * 1000;
    return Math.max(0, Math.ceil(start - now));
  }

  async take(bytes: number, options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    const waitMs = this.reserve(bytes);
    if (waitMs > 0) await this.#clock.sleep(waitMs, options);
  }
}
