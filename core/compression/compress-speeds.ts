import type { Clock } from '../base/clock.ts';
import { levels } from './choose-level.ts';
import type { Level } from './choose-level.ts';

/** What a level costs as a multiple of the first; until it is measured. */
const costs: Readonly<Record<Level, number>> = { 1: 1, 3: 2, 6: 5 };
/** Raw bytes a second of one thread at the first level, until it is measured: an old processor manages that. */
const FIRST_SPEED = 150_000_000;
/** What was measured is believed for so long: a busy moment must not put an end to compressing. */
const BELIEVED_MS = 10_000;
const MEMORY = 0.8;

interface Measured {
  bytesPerSecond: number;
  atMs: number;
}

/** How fast one thread compresses, in time that passes: where processors are busy that is less. */
export class CompressSpeeds {
  readonly #clock: Clock;
  readonly #measured = new Map<Level, Measured>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A unit of so many bytes was compressed within `ms`. */
  note(level: Level, bytes: number, ms: number): void {
    const speed = (bytes * 1_000) / Math.max(ms, 0.01);
    const known = this.#known(level);
    const bytesPerSecond =
      known === undefined ? speed : MEMORY * known.bytesPerSecond + (1 - MEMORY) * speed;
    this.#measured.set(level, { bytesPerSecond, atMs: this.#clock.monotonic() });
  }

  /** Bytes a second at the level, from the level nearest to it that was measured lately. */
  of(level: Level): number {
    const nearest = levels
      .toSorted((a, b) => Math.abs(a - level) - Math.abs(b - level))
      .find((other) => this.#known(other) !== undefined);
    if (nearest === undefined) return FIRST_SPEED / costs[level];
    const { bytesPerSecond = 0 } = this.#known(nearest) ?? {};
    return (bytesPerSecond * costs[nearest]) / costs[level];
  }

  #known(level: Level): Measured | undefined {
    const known = this.#measured.get(level);
    if (known === undefined) return undefined;
    return this.#clock.monotonic() - known.atMs < BELIEVED_MS ? known : undefined;
  }
}
