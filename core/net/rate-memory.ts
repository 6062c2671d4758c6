// Words of the memory; times are in µs.
const RATE = 0;
const PAID = 1;
const PASSED = 2;
const HELD = 3;
const WAITED = 4;
const FIELDS = 5;
/** In place of a time: nobody waits. */
const NOBODY = -1n;
/** Some ten thousand years: no sum overflows. */
const MAX_MS = 3e14;

/** What a limit lets pass, in memory that threads share: all limiters on it are one limit. */
export class RateMemory {
  readonly shared: SharedArrayBuffer;
  readonly #words: BigInt64Array;

  /** Without `shared`: of a new limit. */
  constructor(shared?: SharedArrayBuffer) {
    this.shared = shared ?? new SharedArrayBuffer(FIELDS * BigInt64Array.BYTES_PER_ELEMENT);
    this.#words = new BigInt64Array(this.shared);
    if (shared === undefined) this.waitedMs = undefined;
  }

  /** 0 is no limit. */
  get bytesPerSecond(): number {
    return Number(Atomics.load(this.#words, RATE));
  }

  set bytesPerSecond(rate: number) {
    Atomics.store(this.#words, RATE, BigInt(Math.max(0, Math.round(rate))));
  }

  /** Monotonic ms at which everything that passed has been paid for. */
  get paidUntilMs(): number {
    return Number(Atomics.load(this.#words, PAID)) / 1_000;
  }

  get passedBytes(): number {
    return Number(Atomics.load(this.#words, PASSED));
  }

  get heldBytes(): number {
    return Number(Atomics.load(this.#words, HELD));
  }

  /** When somebody was last seen waiting, monotonic ms; undefined: since then nobody was left. */
  get waitedMs(): number | undefined {
    const waited = Atomics.load(this.#words, WAITED);
    return waited === NOBODY ? undefined : Number(waited) / 1_000;
  }

  set waitedMs(ms: number | undefined) {
    Atomics.store(this.#words, WAITED, ms === undefined ? NOBODY : micros(ms));
  }

  addPassed(bytes: number): void {
    Atomics.add(this.#words, PASSED, BigInt(bytes));
  }

  addHeld(bytes: number): void {
    Atomics.add(this.#words, HELD, BigInt(bytes));
  }

  /** Replaces the time until which is paid by what `next` makes of it; the time that was replaced, ms. */
  pay(next: (paidUntilMs: number) => number): number {
    for (;;) {
      const before = Atomics.load(this.#words, PAID);
      const after = micros(next(Number(before) / 1_000));
      if (Atomics.compareExchange(this.#words, PAID, before, after) === before) {
        return Number(before) / 1_000;
      }
    }
  }
}

function micros(ms: number): bigint {
  return BigInt(Math.ceil(Math.min(ms, MAX_MS) * 1_000));
}
