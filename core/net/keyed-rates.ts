import { LRUCache } from 'lru-cache';
import type { Clock } from '../base/clock.ts';
import { RateLimiter } from './pacing.ts';

/** Past it who was not asked for longest begins anew. */
const MAX_KEYS = 4_096;
/** Slowest that a limiter goes: nothing moves at it, and its waiters go on as soon as it is raised. */
const STANDSTILL = 1;

/** One limiter for each name, made when it is first asked for: what is set here, and a share of the cell's budget. */
export class KeyedRates {
  readonly #ownOf: (key: string) => number;
  readonly #clock: Clock;
  readonly #limiters = new LRUCache<string, RateLimiter>({ max: MAX_KEYS });
  /** Those with a share are never forgotten. */
  readonly #shared = new Map<string, RateLimiter>();
  #shares: ReadonlyMap<string, number> = new Map();

  /** `ownOf`: bytes per second that are set here, 0 for no limit. */
  constructor(ownOf: (key: string) => number, clock: Clock) {
    this.#ownOf = ownOf;
    this.#clock = clock;
  }

  limiter(key: string): RateLimiter {
    const known = this.#shared.get(key) ?? this.#limiters.get(key);
    if (known !== undefined) return known;
    const made = new RateLimiter(this.rateOf(key), this.#clock);
    this.#limiters.set(key, made);
    return made;
  }

  /** True while somebody waits for a share. */
  get isHolding(): boolean {
    return this.#shared.values().some((limiter) => limiter.isHolding);
  }

  /** The lower of what is set here and the share. */
  rateOf(key: string): number {
    const own = this.#ownOf(key);
    const share = this.#shares.get(key);
    if (share === undefined) return own;
    const part = Math.max(STANDSTILL, share);
    return own === 0 ? part : Math.min(own, part);
  }

  own(key: string): number {
    return this.#ownOf(key);
  }

  /** Shares of the cell's budgets, bytes per second; of a name that is missing there is none any more. */
  setShares(shares: ReadonlyMap<string, number>): void {
    const former = this.#shares;
    this.#shares = shares;
    for (const key of shares.keys()) this.#shared.set(key, this.limiter(key));
    for (const key of new Set([...former.keys(), ...shares.keys()])) {
      this.limiter(key).setRate(this.rateOf(key));
    }
    for (const [key, limiter] of this.#shared) {
      if (shares.has(key)) continue;
      this.#shared.delete(key);
      this.#limiters.set(key, limiter);
    }
  }
}
