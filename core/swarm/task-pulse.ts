import type { Clock } from '../base/clock.ts';

/** News of twenty parents come thick and fast; looking at all of it at once costs little, at each a lot. */
const MIN_TICK_MS = 5;
/** How often the state is looked at when nothing happens. */
const IDLE_TICK_MS = 250;

/** When the state of a task is looked at: soon after something happened, and now and then. */
export class TaskPulse {
  readonly #clock: Clock;
  #wake: (() => void) | undefined;
  #tickedMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Something happened. */
  poke(): void {
    this.#wake?.();
  }

  /** It is being looked at now. */
  tick(): void {
    this.#tickedMs = this.#clock.monotonic();
  }

  /** Resolves when it is to be looked at again. */
  async next(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const timer = this.#clock.after(IDLE_TICK_MS, resolve);
    await promise;
    timer.cancel();
    this.#wake = undefined;
    const restMs = this.#tickedMs + MIN_TICK_MS - this.#clock.monotonic();
    if (restMs > 0) await this.#clock.sleep(restMs);
  }
}
