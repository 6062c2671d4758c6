import { backoffMs } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import type { Random } from '../base/random.ts';

/** Nobody brought anything for this long; a no of the supernode holds for about as long, twice as long each time. */
const SEEK = { firstMs: 15_000, maxMs: 120_000 };

/** When a host that nobody brings forward asks the supernode for a turn at the origin. */
export class SourceSeeker {
  readonly #clock: Clock;
  readonly #random: Random;
  #isAsking = false;
  #refusals = 0;
  #restsUntilMs = Number.NEGATIVE_INFINITY;

  constructor(parts: { readonly clock: Clock; readonly random: Random }) {
    this.#clock = parts.clock;
    this.#random = parts.random;
  }

  /** True when it is time to ask, for a host that was last brought forward then. */
  isDue(movedMs: number): boolean {
    const now = this.#clock.monotonic();
    return !this.#isAsking && now - movedMs >= SEEK.firstMs && now >= this.#restsUntilMs;
  }

  /** Asks, and rests when the answer is no. */
  async seek(ask: () => Promise<boolean>): Promise<boolean> {
    this.#isAsking = true;
    try {
      if (await ask()) return true;
      this.#restsUntilMs = this.#clock.monotonic() + backoffMs(this.#refusals, SEEK, this.#random);
      this.#refusals += 1;
      return false;
    } finally {
      this.#isAsking = false;
    }
  }
}
