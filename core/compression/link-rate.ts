/** Weight of what was sent before, by each such amount that follows: the rate of the last few of them counts. */
const MEMORY_BYTES = 2_097_152;
/** Below so much nothing can be said; nor below so long, where a reader that has just begun is slow, and no link. */
const LEAST_BYTES = 262_144;
const LEAST_MS = 120;
/** Above so many bytes a second it is mostly the reader that is slow, until it has warmed up. */
const HIGH_RATE = 30_000_000;
const LEAST_HIGH_MS = 600;
/** Who reads on after such a pause warms up anew. */
const PAUSE_MS = 500;
/** What is measured at a time, at the least, and how often. */
const STRETCH_BYTES = 131_072;
const STRETCH_MS = 10;
/** Stretches that are on their way; the one after them is longer. */
const MAX_STRETCHES = 16;

interface Stretch {
  readonly token: number;
  readonly bytes: number;
  /** When its first byte was handed to the socket. */
  readonly startedMs: number;
}

/**
 * How fast a link delivers, by the pings that follow what is sent and the pongs that come back once it was read. The
 * time that a socket takes says nothing of the link: the kernel holds more than what is asked for at a time.
 */
export class LinkRate {
  readonly #stretches: Stretch[] = [];
  #lastToken = 0;
  /** Of the stretch that has not ended. */
  #openBytes = 0;
  #openedMs = 0;
  #endedMs = Number.NEGATIVE_INFINITY;
  /** When the other side had read all that it has answered for. */
  #answeredMs = Number.NEGATIVE_INFINITY;
  #bytes = 0;
  #ms = 0;
  #seenBytes = 0;
  #seenMs = 0;

  /** `bytes` were handed to the socket; a token to ping with behind them, now and then. */
  sent(bytes: number, nowMs: number): number | undefined {
    if (this.#openBytes === 0) {
      this.#openedMs = nowMs;
      const hasPaused = this.#stretches.length === 0 && nowMs - this.#answeredMs > PAUSE_MS;
      if (hasPaused && this.#isHigh) this.#seenMs = 0;
    }
    this.#openBytes += bytes;
    if (this.#openBytes < STRETCH_BYTES || nowMs - this.#endedMs < STRETCH_MS) return undefined;
    if (this.#stretches.length === MAX_STRETCHES) return undefined;
    this.#lastToken = (this.#lastToken % 0x7fff_ffff) + 1;
    const [token, startedMs] = [this.#lastToken, this.#openedMs];
    this.#stretches.push({ token, bytes: this.#openBytes, startedMs });
    this.#openBytes = 0;
    this.#endedMs = nowMs;
    return token;
  }

  /** Nothing more is sent for now: what was, short of a whole stretch, is not measured. */
  rest(): void {
    this.#openBytes = 0;
  }

  /** A pong came; one that was not asked for is passed over. */
  answered(token: number, nowMs: number): void {
    const place = this.#stretches.findIndex((stretch) => stretch.token === token);
    if (place < 0) return;
    const passed = this.#stretches.splice(0, place + 1);
    const [first] = passed;
    const bytes = passed.reduce((sum, stretch) => sum + stretch.bytes, 0);
    // What lay behind other bytes waited for those.
    const sinceMs = Math.max(this.#answeredMs, first?.startedMs ?? nowMs);
    this.#note(bytes, nowMs - sinceMs);
    this.#answeredMs = nowMs;
  }

  /** Bytes a second; undefined until enough was delivered to tell. */
  get bytesPerSecond(): number | undefined {
    if (this.#seenBytes < LEAST_BYTES || this.#seenMs < LEAST_MS) return undefined;
    if (this.#isHigh && this.#seenMs < LEAST_HIGH_MS) return undefined;
    return this.#ms <= 0 ? Number.POSITIVE_INFINITY : (this.#bytes * 1_000) / this.#ms;
  }

  get #isHigh(): boolean {
    return this.#bytes * 1_000 > HIGH_RATE * this.#ms;
  }

  #note(bytes: number, ms: number): void {
    const kept = 2 ** (-bytes / MEMORY_BYTES);
    this.#bytes = this.#bytes * kept + bytes;
    this.#ms = this.#ms * kept + ms;
    this.#seenBytes += bytes;
    this.#seenMs += ms;
  }
}
