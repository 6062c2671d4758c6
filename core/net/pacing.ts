import { abortable } from '../base/clock.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { DEFAULT_PRIORITY } from '../base/priority.ts';
import { FairLine } from './fair-line.ts';
import type { Account } from './fair-line.ts';

/** Who says nothing of himself stands with all who do not. */
const NOBODY: Account = { priority: DEFAULT_PRIORITY, flow: undefined };

/**
 * A token bucket in bytes. Who waits for it is served by his class and, within that, like every other flow; those of
 * one flow in the order of asking.
 */
export class RateLimiter {
  readonly #clock: Clock;
  #bytesPerSecond: number;
  /** Monotonic ms at which everything granted so far has been paid for. */
  #paidUntilMs = 0;
  #passedBytes = 0;
  #heldBytes = 0;
  readonly #line = new FairLine<() => void>();
  /** Runs while somebody waits: until the next may pass. */
  #timer: Timer | undefined;

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

  /** Somebody waits at this moment. */
  get isHolding(): boolean {
    return !this.#line.isEmpty;
  }

  /** From now on; at a higher rate what has passed is paid for at that, at a lower one as it was when it passed. */
  setRate(bytesPerSecond: number): void {
    const now = this.#clock.monotonic();
    const share = bytesPerSecond <= 0 ? 0 : Math.min(1, this.#bytesPerSecond / bytesPerSecond);
    this.#bytesPerSecond = bytesPerSecond;
    if (share < 1 && this.#paidUntilMs > now) {
      this.#paidUntilMs = now + (this.#paidUntilMs - now) * share;
    }
    this.#letPass();
  }

  /** Milliseconds the caller must wait before passing `bytes`; the bytes count as passed, before all who wait. */
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

  /** Calls `onPass`, maybe at once, when the bytes may pass. Who cancels before has not paid for them. */
  ask(bytes: number, account: Account, onPass: () => void): Timer {
    if (this.#line.isEmpty && this.#isPaid) {
      this.#line.pay(account, bytes);
      this.reserve(bytes);
      onPass();
      return { cancel: () => undefined };
    }
    this.#heldBytes += bytes;
    this.#line.push(onPass, account, bytes);
    this.#letPass();
    return {
      cancel: () => {
        this.#line.remove(onPass, account);
        this.#letPass();
      },
    };
  }

  async take(
    bytes: number,
    options: { signal?: AbortSignal | undefined; account?: Account } = {},
  ): Promise<void> {
    const { signal, account = NOBODY } = options;
    signal?.throwIfAborted();
    if (this.#bytesPerSecond <= 0) {
      this.#passedBytes += bytes;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const asked = this.ask(bytes, account, resolve);
    try {
      await abortable(promise, signal);
    } finally {
      asked.cancel();
    }
  }

  get #isPaid(): boolean {
    return this.#bytesPerSecond <= 0 || this.#paidUntilMs <= this.#clock.monotonic();
  }

  /** Lets those pass whose time has come, and looks again when that of the next has. */
  #letPass(): void {
    while (this.#isPaid) {
      const next = this.#line.shift();
      if (next === undefined) break;
      this.reserve(next.bytes);
      next.item();
    }
    // Set anew even where it was set: the rate may have changed, and who passed may have asked for more.
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#line.isEmpty) return;
    const waitMs = Math.max(0, Math.ceil(this.#paidUntilMs - this.#clock.monotonic()));
    this.#timer = this.#clock.after(waitMs, () => this.#letPass());
  }
}
