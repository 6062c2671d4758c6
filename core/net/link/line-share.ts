/** What a link is given the time for, at its share of the line: a block of a piece. */
const SHARE_BYTES = 262_144;
/** What came lately counts half as much after so long; the most that came at a time after this. */
const RATE_HALF_MS = 1_000;
const PEAK_HALF_MS = 20_000;
/** However many share a slow line: of so many times what is usual a peer that is gone is told from one that waits. */
const MOST = 4;

/**
 * How long the peer of a link may be silent because this host's own line is full: where many bring something at the
 * same time over a slow line, some of them come to nothing for seconds.
 */
export class LineShare {
  #rate = 0;
  /** Bytes per ms. */
  #peak = 0;
  #bytes = 0;

  /** `bytes` came of all peers within `ms`, while something was asked of them. */
  tick(bytes: number, ms: number): void {
    if (ms <= 0) return;
    this.#bytes += bytes;
    const kept = 2 ** (-ms / RATE_HALF_MS);
    this.#rate = this.#rate * kept + (bytes / ms) * (1 - kept);
    this.#peak = Math.max(this.#rate, this.#peak * 2 ** (-ms / PEAK_HALF_MS));
  }

  /** Milliseconds, at least `usualMs`, while `links` owe an answer. */
  patienceMs(usualMs: number, links: number): number {
    if (links < 2 || this.#bytes < SHARE_BYTES) return usualMs;
    const shareMs = (SHARE_BYTES * links) / this.#peak;
    return Math.min(MOST * usualMs, Math.max(usualMs, shareMs));
  }
}
