import type { Clock } from '../base/clock.ts';

/**
 * News of twenty parents come thick and fast; looking at all of it at once costs little, at each a lot. Two in a row are
 * looked at as they come: that a seed has a piece and what its digest is come by two ways, and are of use together.
 */
const MIN_TWO_TICKS_MS = 10;
/** Where pieces come slowly there is no haste: requests for several are under way. */
const MAX_TWO_TICKS_MS = 40;
/** How much of the time between two pieces the last one counts. */
const NEW_PART = 0.2;
/** How often the state is looked at when nothing happens. */
const IDLE_TICK_MS = 250;

/** When the state of a task is looked at: soon after something happened, and now and then. */
export class TaskPulse {
  readonly #clock: Clock;
  #wake: (() => void) | undefined;
  #tickedMs = Number.NEGATIVE_INFINITY;
  /** When it was looked at before that. */
  #beforeMs = Number.NEGATIVE_INFINITY;
  #cameMs: number | undefined;
  /** Between two pieces that come, on average. */
  #gapMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Something happened. */
  poke(): void {
    this.#wake?.();
  }

  /** A piece came. */
  came(): void {
    const nowMs = this.#clock.monotonic();
    // A long pause says nothing about what comes after it.
    const gapMs = Math.min(2 * MAX_TWO_TICKS_MS, nowMs - (this.#cameMs ?? nowMs));
    this.#gapMs += NEW_PART * (gapMs - this.#gapMs);
    this.#cameMs = nowMs;
    this.poke();
  }

  /** It is being looked at now. */
  tick(): void {
    this.#beforeMs = this.#tickedMs;
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
    const twoTicksMs = Math.min(MAX_TWO_TICKS_MS, Math.max(MIN_TWO_TICKS_MS, this.#gapMs / 2));
    const restMs = this.#beforeMs + twoTicksMs - this.#clock.monotonic();
    if (restMs > 0) await this.#clock.sleep(restMs);
  }
}
