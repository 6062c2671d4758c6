/** Weight of the newest sample, of one parent and of all. */
const GAIN = 0.25;
const USUAL_GAIN = 0.05;
/** One sample counts as no more than so many times what is usual: a few slow parents do not make that usual. */
const MOST = 2;
/** A parent that takes up to so many times what is usual is like all others: its line says enough. */
const ALIKE = 3;

/** How long a request holds its parent up, ms: what it took, by the length of the line that it was at the end of. */
export class ServiceTime {
  #ms = 0;
  #samples = 0;
  readonly #gain: number;
  readonly #most: number;

  private constructor(gain: number, most: number) {
    this.#gain = gain;
    this.#most = most;
  }

  static ofOne(): ServiceTime {
    return new ServiceTime(GAIN, Number.POSITIVE_INFINITY);
  }

  /** Of all parents together. */
  static usual(): ServiceTime {
    return new ServiceTime(USUAL_GAIN, MOST);
  }

  /** A piece took `ms`, asked for as the last of `line` requests. */
  note(ms: number, line: number): void {
    const each = Math.max(ms, 0.01) / Math.max(1, line);
    this.#samples += 1;
    const counted = this.#samples === 1 ? each : Math.min(each, this.#most * this.#ms);
    // The first few are worth as much as each other: else one that was late would count for long.
    this.#ms += Math.max(this.#gain, 1 / this.#samples) * (counted - this.#ms);
  }

  /** How many times longer than `usual`; 1 for a parent that is like all others, or not known yet. */
  beside(usual: ServiceTime): number {
    const times = usual.#ms === 0 ? 1 : this.#ms / usual.#ms;
    return times > ALIKE ? times : 1;
  }
}
