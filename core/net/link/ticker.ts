import type { Clock, Timer } from '../../base/clock.ts';

/** Time that passed between two ticks. */
export interface TickTime {
  readonly elapsedMs: number;
  /** The same, or 0 when our own thread was late: what came meanwhile may not have been read yet. */
  readonly countedMs: number;
}

/** Calls back at intervals while it is wanted, and tells time that passed from time that this thread slept through. */
export class Ticker {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #lagMs: number;
  readonly #onTick: (time: TickTime) => void;
  #timer: Timer | undefined;
  #lastMs = 0;

  constructor(
    options: { clock: Clock; tickMs: number; lagMs: number },
    onTick: (time: TickTime) => void,
  ) {
    this.#clock = options.clock;
    this.#tickMs = options.tickMs;
    this.#lagMs = options.lagMs;
    this.#onTick = onTick;
  }

  start(): void {
    if (this.#timer !== undefined) return;
    this.#lastMs = this.#clock.monotonic();
    this.#timer = this.#clock.every(this.#tickMs, () => this.#tick());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #tick(): void {
    const nowMs = this.#clock.monotonic();
    const elapsedMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    const isLate = elapsedMs > this.#tickMs + this.#lagMs;
    this.#onTick({ elapsedMs, countedMs: isLate ? 0 : elapsedMs });
  }
}
