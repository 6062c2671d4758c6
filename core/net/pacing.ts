import { abortable } from '../base/clock.ts';
import type { Clock, Timer } from '../base/clock.ts';

/** Somebody whose bytes have not been paid for. */
interface Waiter {
  /** Monotonic ms. */
  dueMs: number;
  timer: Timer;
  readonly wake: () => void;
}

/** A token bucket in bytes: `take` resolves when the bytes may pass, in the order of asking. */
export class RateLimiter {
  readonly #clock: Clock;
  #bytesPerSecond: number;
  /** Monotonic ms at which everything granted so far has been paid for. */
  #paidUntilMs = 0;
  #passedBytes = 0;
  #heldBytes = 0;
  readonly #waiters = new Set<Waiter>();

  /** `bytesPerSecond` 0 means no limit. */
  constructor(bytesPerSecond: number, clock: Clock) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#clock = clock;
  }

  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  /** Bytes that were let pass since the start. */
  get passedBytes(): number {
    return this.#passedBytes;
  }

  /** Bytes that were made to wait: while this grows, more is wanted than the rate allows. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** From now on; at a higher rate those who wait pay for what is left at that, at a lower one as they were told. */
  setRate(bytesPerSecond: number): void {
    const now = this.#clock.monotonic();
    const share = bytesPerSecond <= 0 ? 0 : Math.min(1, this.#bytesPerSecond / bytesPerSecond);
    this.#bytesPerSecond = bytesPerSecond;
    if (share === 1) return;
    this.#paidUntilMs = sooner(this.#paidUntilMs, now, share);
    for (const waiter of this.#waiters) {
      waiter.dueMs = sooner(waiter.dueMs, now, share);
      waiter.timer.cancel();
      waiter.timer = this.#clock.after(Math.max(0, waiter.dueMs - now), waiter.wake);
    }
  }

  /** Milliseconds the caller must wait before passing `bytes`; the bytes count as passed. */
  reserve(bytes: number): number {
    this.#passedBytes += bytes;
    if (this.#bytesPerSecond <= 0) return 0;
    const now = this.#clock.monotonic();
    // Up to 50 ms of unused rate may be spent at once: enough to hide timer jitter, too little to burst.
    const start = Math.max(this.#paidUntilMs, now - 50);
    this.#paidUntilMs = start + (bytes / this.#bytesPerSecond) * 1000;
    const waitMs = Math.max(0, Math.ceil(start - now));
    if (waitMs > 0) this.#heldBytes += bytes;
    return waitMs;
  }

  async take(bytes: number, options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    const waitMs = this.reserve(bytes);
    if (waitMs <= 0) return;
    options.signal?.throwIfAborted();
    const { promise, resolve: wake } = Promise.withResolvers<void>();
    const dueMs = this.#clock.monotonic() + waitMs;
    const waiter: Waiter = { dueMs, timer: this.#clock.after(waitMs, wake), wake };
    this.#waiters.add(waiter);
    try {
      await abortable(promise, options.signal);
    } finally {
      this.#waiters.delete(waiter);
      waiter.timer.cancel();
    }
  }
}

/** The moment that is left of `untilMs` when only `share` of the wait for it is. */
function sooner(untilMs: number, now: number, share: number): number {
  return untilMs <= now ? untilMs : now + (untilMs - now) * share;
}
