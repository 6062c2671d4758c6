/** Weight of the newest sample. */
const GAIN = 0.25;
/** Samples before a parent's own figures say when it is late. */
const ENOUGH = 4;
/** The shortest time is forgotten slowly: paths change. */
const FADE = 1.01;
/** Mean and so many mean deviations: about the 95th percentile. */
const LATE_DEVIATIONS = 2.5;

/** How long a parent takes to bring a piece, from request to last byte, ms. */
export class ResponseTime {
  #meanMs = 0;
  #deviationMs = 0;
  #leastMs = Number.POSITIVE_INFINITY;
  #samples = 0;
  #onWay = 0;

  /** A piece took `ms`, with `inFlight` requests under way to that parent, itself counted. */
  note(ms: number, inFlight: number): void {
    const tookMs = Math.max(ms, 0.01);
    this.#leastMs = Math.min(tookMs, this.#leastMs * FADE);
    this.#samples += 1;
    if (this.#samples === 1) {
      this.#meanMs = tookMs;
      this.#deviationMs = tookMs / 2;
    }
    this.#deviationMs += GAIN * (Math.abs(tookMs - this.#meanMs) - this.#deviationMs);
    this.#meanMs += GAIN * (tookMs - this.#meanMs);
    // Little's law: what would be under way at this rate if nothing waited in line.
    this.#onWay += GAIN * ((inFlight * this.#leastMs) / tookMs - this.#onWay);
  }

  /** Requests that fill the path to it without waiting in its line. */
  get onWay(): number {
    return this.#onWay;
  }

  /** A request that is older is late; infinite while too little is known. */
  get lateMs(): number {
    if (this.#samples < ENOUGH) return Number.POSITIVE_INFINITY;
    return this.#meanMs + LATE_DEVIATIONS * this.#deviationMs;
  }
}
