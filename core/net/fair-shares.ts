/** Keys that are remembered; past it who was served longest ago counts as new. */
const MAX_KEYS = 1_024;

/**
 * Start-time fair queueing: who is next of those who want something now, so that over time each gets bytes in
 * proportion to his weight. Who wanted nothing for a while has saved nothing, and owes nothing.
 */
export class FairShares<Key> {
  /** Where each ends in virtual time, which is bytes divided by weight; absent: in the past. */
  readonly #ends = new Map<Key, number>();
  #now = 0;

  /** Those that are remembered. */
  get size(): number {
    return this.#ends.size;
  }

  /** The one to serve next; of equals the first. Undefined when there is none. */
  next(keys: Iterable<Key>): Key | undefined {
    let best: Key | undefined;
    let bestStart = Number.POSITIVE_INFINITY;
    for (const key of keys) {
      const start = this.#startOf(key);
      if (start >= bestStart) continue;
      best = key;
      bestStart = start;
    }
    return best;
  }

  /** `key` is served `bytes`; the others of `next()` are served before it is again, by their weight. */
  pay(key: Key, bytes: number, weight = 1): void {
    const start = this.#startOf(key);
    this.#now = start;
    this.#ends.delete(key);
    this.#ends.set(key, start + bytes / weight);
    const [oldest] = this.#ends.size > MAX_KEYS ? this.#ends.keys() : [];
    if (oldest !== undefined) this.#ends.delete(oldest);
  }

  #startOf(key: Key): number {
    return Math.max(this.#now, this.#ends.get(key) ?? 0);
  }
}
