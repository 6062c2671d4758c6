/** Bytes of so long count as what passes now. */
const WINDOW_MS = 1_000;
/** A block that took less is counted with others. */
const TICK_MS = 250;
/** What passed at best is forgotten by this part in a second: paths change. */
const FADE = 0.98;
/** Less than this part of what passed at best leaves room for more readers. */
const FULL = 0.6;
/** Who takes less than this part of a fair share is slow. */
const SLOW_SHARE = 0.5;
/** How often one more is tried where all seems full, twice as seldom each time that brings nothing. */
const FIRST_PROBE_MS = 1_000;
const MAX_PROBE_MS = 16_000;
const PROBE_GAIN = 1.2;

/** Who is sent to. */
export interface Reader {
  /** It has had its turn for so long. */
  readonly turnMs: number;
  readonly bytesPerMs: number;
}

/** How many are sent to at a time, and how long each before it is judged. */
export interface Turns {
  readonly most: number;
  readonly slowMs: number;
}

/**
 * What a host has got rid of lately, to all its readers together. By it a slow reader is told from a slow uplink: where
 * the uplink passes what it ever did, all readers seem slow, and one more of them only makes each slower.
 */
export class UplinkGauge {
  /** What passed within the last while: so many bytes from one moment to another. */
  #passed: { readonly bytes: number; readonly fromMs: number; readonly toMs: number }[] = [];
  /** Bytes of blocks that were taken at once since the last tick. */
  #bytes = 0;
  #nowMs = 0;
  /** Bytes per ms. */
  #now = 0;
  #best = 0;
  #probeEveryMs = FIRST_PROBE_MS;
  #sinceProbeMs = Number.POSITIVE_INFINITY;
  #bestAtProbe = 0;

  /** A block was taken by a socket, `ms` after it was given to it: it passed all that time, and not in the end. */
  passed(bytes: number, ms: number): void {
    if (ms < TICK_MS) this.#bytes += bytes;
    else this.#passed.push({ bytes, fromMs: this.#nowMs - ms, toMs: this.#nowMs });
  }

  /** `ms` have passed since the last call. */
  tick(ms: number): void {
    this.#passed.push({ bytes: this.#bytes, fromMs: this.#nowMs, toMs: this.#nowMs + ms });
    this.#bytes = 0;
    this.#nowMs += ms;
    const sinceMs = this.#nowMs - WINDOW_MS;
    this.#passed = this.#passed.filter(({ toMs }) => toMs > sinceMs);
    let bytes = 0;
    for (const part of this.#passed) {
      const lastMs = part.toMs - Math.max(sinceMs, part.fromMs);
      bytes += (part.bytes * lastMs) / Math.max(1, part.toMs - part.fromMs);
    }
    this.#now = bytes / WINDOW_MS;
    this.#best = Math.max(this.#now, this.#best * FADE ** (ms / 1_000));
    this.#sinceProbeMs += ms;
  }

  /**
   * Of those that are sent to, `most` at a time, who makes room for others that wait: who takes little while more could
   * pass; else now and then the slowest, when all have been at it for long, since more may pass than ever did.
   */
  slowAmong<R extends Reader>(readers: readonly R[], { most, slowMs }: Turns): R[] {
    const long = readers.filter(({ turnMs }) => turnMs >= slowMs);
    const isFull = this.#now >= FULL * this.#best;
    const least = (SLOW_SHARE * this.#best) / most;
    const slow = isFull ? [] : long.filter(({ bytesPerMs }) => bytesPerMs < least);
    if (slow.length > 0 || long.length < most || !this.#isProbeDue()) return slow;
    return long.toSorted((a, b) => a.bytesPerMs - b.bytesPerMs).slice(0, 1);
  }

  #isProbeDue(): boolean {
    if (this.#sinceProbeMs < this.#probeEveryMs) return false;
    const isBetter = this.#best > PROBE_GAIN * this.#bestAtProbe;
    this.#probeEveryMs = isBetter ? FIRST_PROBE_MS : Math.min(MAX_PROBE_MS, 2 * this.#probeEveryMs);
    this.#bestAtProbe = this.#best;
    this.#sinceProbeMs = 0;
    return true;
  }
}
