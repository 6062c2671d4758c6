import type { Clock, Timer } from '../core/base/clock.ts';

const PROBE_MS = 500;
/** A scrape every 15 s misses nothing, and an old hiccup does not stay for ever. */
const WINDOW_PROBES = 30;

/** How late timers are: the longest that this thread kept everything else waiting, of late. */
export class LoopLag implements Disposable {
  readonly #lags: number[] = [];
  readonly #timer: Timer;
  #lastMs: number;

  constructor(clock: Clock) {
    this.#lastMs = clock.monotonic();
    this.#timer = clock.every(PROBE_MS, () => {
      const now = clock.monotonic();
      this.#lags.push(Math.max(0, now - this.#lastMs - PROBE_MS));
      if (this.#lags.length > WINDOW_PROBES) this.#lags.shift();
      this.#lastMs = now;
    });
  }

  /** The longest of the last 15 s, seconds. */
  get maxSeconds(): number {
    return Math.max(0, ...this.#lags) / 1000;
  }

  [Symbol.dispose](): void {
    this.#timer.cancel();
  }
}
