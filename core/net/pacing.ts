import { abortable } from '../base/clock.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { DEFAULT_PRIORITY } from '../base/priority.ts';
import { FairLine } from './fair-line.ts';
import type { Account } from './fair-line.ts';
import { RateMemory } from './rate-memory.ts';

/** Who says nothing of himself stands with all who do not. */
const NOBODY: Account = { priority: DEFAULT_PRIORITY, flow: undefined };

/** Up to so much of unused rate may be spent at once: enough to hide the jitter of timers, too little to burst. */
const SPARE_MS = 50;
/** While somebody waits nothing is unused, however late this thread looks: up to so much is made up for. */
const MAX_LATE_MS = 250;
/** Who goes on so soon after he waited has waited all the time. */
const GO_ON_MS = 20;
/** Another thread may have raised the rate: who waits looks so often. */
const LOOK_MS = 100;
const MIN_PART_BYTES = 512;
const MAX_PART_BYTES = 262_144;

/** The largest part that keeps a rate exact: what passes in 10 ms, 512 bytes to 256 KiB; at no rate any. */
export function partBytesFor(bytesPerSecond: number): number {
  if (bytesPerSecond <= 0) return Number.POSITIVE_INFINITY;
  return Math.min(MAX_PART_BYTES, Math.max(MIN_PART_BYTES, Math.floor(bytesPerSecond / 100)));
}

interface Asker {
  readonly onPass: () => void;
  /** It could not pass at once. */
  readonly isHeld: boolean;
}

/** The turn of this thread among all that wait: when, and for how many bytes. Who has it is seen when it has come. */
interface Turn {
  readonly bytes: number;
  startMs: number;
}

/**
 * A token bucket in bytes. Who waits for it is served by his class and, within that, like every other flow; those of
 * one flow in the order of asking. Limiters on the same memory, in whatever threads, are one bucket; those that wait
 * take turns, one each. They must be given clocks whose monotonic time is the same.
 */
export class RateLimiter {
  readonly #clock: Clock;
  readonly #memory: RateMemory;
  readonly #line = new FairLine<Asker>();
  #turn: Turn | undefined;
  /** Runs while somebody waits: until the next may pass. */
  #timer: Timer | undefined;
  #isLettingPass = false;
  /** What was not used since then may be spent at once. */
  #savedFromMs = Number.NEGATIVE_INFINITY;
  /** When the last who waited here passed. */
  #passedMs = Number.NEGATIVE_INFINITY;
  #onLowered: (() => void) | undefined;

  /** Bytes per second, of which 0 means no limit; or the memory of the limiter that this is to be one with. */
  constructor(rate: number | SharedArrayBuffer, clock: Clock) {
    this.#memory = new RateMemory(typeof rate === 'number' ? undefined : rate);
    if (typeof rate === 'number') this.#memory.bytesPerSecond = rate;
    this.#clock = clock;
  }

  get bytesPerSecond(): number {
    return this.#memory.bytesPerSecond;
  }

  /** To be given to other threads, for limiters of their own. */
  get shared(): SharedArrayBuffer {
    return this.#memory.shared;
  }

  /** For how long what passed is not paid yet, ms; below 0: the rate was not reached for so long. */
  get owedMs(): number {
    return this.bytesPerSecond <= 0 ? 0 : this.#memory.paidUntilMs - this.#clock.monotonic();
  }

  /** Bytes that were let pass since the start. */
  get passedBytes(): number {
    return this.#memory.passedBytes;
  }

  /** Bytes that were made to wait: while this grows, more is wanted than the rate allows. */
  get heldBytes(): number {
    return this.#memory.heldBytes;
  }

  /** Somebody waits at this moment; of other threads this is known a moment late. */
  get isHolding(): boolean {
    if (!this.#line.isEmpty) return true;
    const { waitedMs } = this.#memory;
    return waitedMs !== undefined && this.#clock.monotonic() - waitedMs < LOOK_MS * 2;
  }

  /** Whom to tell when less may pass from now on than before: one at most. */
  onLowered(listener: () => void): void {
    this.#onLowered = listener;
  }

  /** From now on; at a higher rate what has passed is paid for at that, at a lower one as it was when it passed. */
  setRate(bytesPerSecond: number): void {
    const now = this.#clock.monotonic();
    const before = this.bytesPerSecond;
    const share = bytesPerSecond <= 0 ? 0 : Math.min(1, this.bytesPerSecond / bytesPerSecond);
    const sooner = (ms: number): number => (ms > now ? now + (ms - now) * share : ms);
    this.#memory.bytesPerSecond = bytesPerSecond;
    this.#memory.pay(sooner);
    if (this.#turn !== undefined) this.#turn.startMs = sooner(this.#turn.startMs);
    this.#letPass();
    if (bytesPerSecond > 0 && (before === 0 || bytesPerSecond < before)) this.#onLowered?.();
  }

  /** Milliseconds the caller must wait before passing `bytes`; the bytes count as passed, before all who wait. */
  reserve(bytes: number): number {
    this.#memory.addPassed(bytes);
    const waitMs = Math.max(0, Math.ceil(this.#pay(bytes) - this.#clock.monotonic()));
    if (waitMs > 0) this.#memory.addHeld(bytes);
    return waitMs;
  }

  /** Calls `onPass`, maybe at once, when the bytes may pass. Who cancels before has not paid for them. */
  ask(bytes: number, account: Account, onPass: () => void): Timer {
    const isHeld = !this.#line.isEmpty || this.owedMs > 0;
    if (isHeld) this.#memory.addHeld(bytes);
    this.#save(this.#clock.monotonic());
    const asker = { onPass, isHeld };
    this.#line.push(asker, account, bytes);
    this.#letPass();
    return {
      cancel: () => {
        if (this.#line.remove(asker, account)) this.#letPass();
      },
    };
  }

  async take(
    bytes: number,
    options: { signal?: AbortSignal | undefined; account?: Account } = {},
  ): Promise<void> {
    const { signal, account = NOBODY } = options;
    signal?.throwIfAborted();
    if (this.bytesPerSecond <= 0) {
      this.#memory.addPassed(bytes);
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

  /** Time is lost that nobody here wanted to use, but for the last of it. */
  #save(now: number): void {
    const isWaitedFor = !this.#line.isEmpty || now - this.#passedMs <= GO_ON_MS;
    this.#savedFromMs = isWaitedFor
      ? Math.max(this.#savedFromMs, now - MAX_LATE_MS)
      : now - SPARE_MS;
  }

  /** Pays for bytes, behind all that was paid for; the monotonic ms at which they may pass. */
  #pay(bytes: number): number {
    const rate = this.bytesPerSecond;
    if (rate <= 0) return Number.NEGATIVE_INFINITY;
    this.#save(this.#clock.monotonic());
    const startOf = (paid: number): number => Math.max(paid, this.#savedFromMs);
    return startOf(this.#memory.pay((paid) => startOf(paid) + (bytes / rate) * 1_000));
  }

  /** More bytes pass than were paid for, or fewer. */
  #correct(bytes: number): void {
    const rate = this.bytesPerSecond;
    if (rate > 0 && bytes !== 0) this.#memory.pay((paid) => paid + (bytes / rate) * 1_000);
  }

  /** Lets those pass whose time has come, and looks again when that of the next has. */
  #letPass(): void {
    // Who passes may ask for more at once: he waits in line like all others.
    if (this.#isLettingPass) return;
    this.#isLettingPass = true;
    try {
      for (let turn = this.#takeTurn(); turn !== undefined && this.#isDue(turn);) {
        this.#passOne(turn);
        turn = this.#takeTurn();
      }
    } finally {
      this.#isLettingPass = false;
    }
    // Set anew even where it was set: the rate may have changed.
    this.#timer?.cancel();
    this.#timer = undefined;
    const now = this.#clock.monotonic();
    const turn = this.#turn;
    this.#memory.waitedMs = turn === undefined ? undefined : now;
    if (turn === undefined) return;
    const waitMs = Math.min(LOOK_MS, Math.max(0, Math.ceil(turn.startMs - now)));
    this.#timer = this.#clock.after(waitMs, () => this.#letPass());
  }

  #passOne(turn: Turn): void {
    this.#turn = undefined;
    const next = this.#line.shift();
    if (next === undefined) return this.#correct(-turn.bytes);
    const { onPass, isHeld } = next.item;
    if (isHeld) this.#passedMs = this.#clock.monotonic();
    this.#correct(next.bytes - turn.bytes);
    this.#memory.addPassed(next.bytes);
    onPass();
  }

  /** A turn is kept by whoever waits here; undefined when nobody does. */
  #takeTurn(): Turn | undefined {
    const bytes = this.#line.next?.bytes;
    if (bytes !== undefined) this.#turn ??= { bytes, startMs: this.#pay(bytes) };
    else if (this.#turn !== undefined) {
      this.#correct(-this.#turn.bytes);
      this.#turn = undefined;
    }
    return this.#turn;
  }

  /** Where all is paid for sooner, another thread raised the rate, or gave its turn up. */
  #isDue({ startMs }: Turn): boolean {
    if (this.bytesPerSecond <= 0 || startMs <= this.#clock.monotonic()) return true;
    return startMs > this.#memory.paidUntilMs;
  }
}
