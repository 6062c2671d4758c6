/** Weight of what was sent before, by each such amount that follows: the rate of the last few of them counts. */
const MEMORY_BYTES = 2_097_152;
/** Below so much nothing can be said: sockets take the first bytes at once, whatever the link behind them. */
const LEAST_BYTES = 524_288;

/** How fast a link takes what it is given, by the time that its blocks are with the socket. */
export class LinkRate {
  #bytes = 0;
  #ms = 0;
  #seenBytes = 0;

  /** A block of `bytes` was taken within `ms`, and the next one was ready. */
  note(bytes: number, ms: number): void {
    const kept = 2 ** (-bytes / MEMORY_BYTES);
    this.#bytes = this.#bytes * kept + bytes;
    this.#ms = this.#ms * kept + ms;
    this.#seenBytes += bytes;
  }

  /** Bytes a second on the wire; undefined until enough was sent to tell. */
  get bytesPerSecond(): number | undefined {
    if (this.#seenBytes < LEAST_BYTES) return undefined;
    return this.#ms <= 0 ? Number.POSITIVE_INFINITY : (this.#bytes * 1_000) / this.#ms;
  }
}
