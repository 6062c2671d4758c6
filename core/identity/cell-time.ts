import type { Clock } from '../base/clock.ts';

/**
 * The time of the cell, by which everything signed expires: what the supernode last said plus the monotonic time
 * since, so that a jump of this machine's wall clock changes nothing. Until it is told, this machine's time when
 * it was made. The monotonic clock stands while a machine sleeps; the next reply of the supernode puts that right.
 */
export class CellTime {
  readonly #clock: Clock;
  #offsetMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#offsetMs = clock.now() - clock.monotonic();
  }

  /** Takes the cell time (ms since the epoch) that a reply just carried; a value that is no time is ignored. */
  observe(cellNowMs: number): void {
    if (!Number.isFinite(cellNowMs) || cellNowMs <= 0) return;
    this.#offsetMs = cellNowMs - this.#clock.monotonic();
  }

  /** Milliseconds since the epoch, whole, in cell time. */
  now(): number {
    return Math.round(this.#clock.monotonic() + this.#offsetMs);
  }
}
