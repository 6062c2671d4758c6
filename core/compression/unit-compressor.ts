import { availableParallelism } from 'node:os';
import { extname, join } from 'node:path';
import type { Piscina } from 'piscina';
import type { Clock } from '../base/clock.ts';
import { CompressSpeeds } from './compress-speeds.ts';
import type { CompressJob, CompressedJob } from './compress-worker.ts';
import type { Level } from './choose-level.ts';
import { UNIT_BYTES } from './unit.ts';

/** Threads that compress for one thread that sends; a machine of fewer than 8 processors has one. */
const THREADS = availableParallelism() < 8 ? 1 : 2;
/** Units under way or waiting; further ones are sent as they are. */
const MAX_UNDER_WAY = 4 * THREADS;
/** A thread that has nothing to do for so long ends. */
const IDLE_MS = 10_000;
/** Young objects are few: units move, they are not copied. */
const THREAD_LIMITS = { maxYoungGenerationSizeMb: 2 };

/** A unit as it lies in the store. */
export interface RawUnit {
  readonly length: number;
  /** Fills `target`, which is as long as the unit; throws when it cannot. */
  read(target: Uint8Array): void;
}

/** Compresses units in threads of its own, which are started when there is something to do. */
export class UnitCompressor implements AsyncDisposable {
  readonly #speeds: CompressSpeeds;
  readonly #spare: ArrayBuffer[] = [];
  #pool: Promise<Piscina<CompressJob, CompressedJob>> | undefined;
  #underWay = 0;
  #cpuMs = 0;
  #triedBytes = 0;
  #isClosed = false;

  constructor(clock: Clock) {
    this.#speeds = new CompressSpeeds(clock);
  }

  /** Time of the processor that was spent so far, ms. */
  get cpuMs(): number {
    return this.#cpuMs;
  }

  /** Raw bytes that were read to be compressed. */
  get triedBytes(): number {
    return this.#triedBytes;
  }

  get isFull(): boolean {
    return this.#isClosed || this.#underWay >= MAX_UNDER_WAY;
  }

  /** Raw bytes a second that all threads compress at a level, in time that passes. */
  speedOf(level: Level): number {
    return this.#speeds.of(level) * THREADS;
  }

  /**
   * The compressed form, empty when it does not save enough. `isProbed`: samples are tried first. Throws what reading
   * throws, at once; to be called only while not full.
   */
  async compress(
    unit: RawUnit,
    how: { readonly level: Level; readonly isProbed: boolean },
  ): Promise<Uint8Array> {
    const memory = this.#spare.pop() ?? new ArrayBuffer(UNIT_BYTES);
    const { length } = unit;
    this.#underWay += 1;
    try {
      unit.read(new Uint8Array(memory, 0, length));
      this.#triedBytes += length;
      const pool = await (this.#pool ??= openPool());
      const done = await pool.run({ memory, length, ...how }, { transferList: [memory] });
      this.#cpuMs += done.cpuMs;
      if (this.#spare.length < MAX_UNDER_WAY) this.#spare.push(done.memory);
      if (done.isWhole) this.#speeds.note(how.level, length, done.ms);
      return done.unit;
    } finally {
      this.#underWay -= 1;
    }
  }

  /** Gives back memory that nothing needs now. */
  rest(): void {
    this.#spare.length = 0;
  }

  /** Ends the threads; what is under way fails. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const pool = await this.#pool?.catch(() => undefined);
    await pool?.destroy();
  }
}

/** Loaded on first use: most hosts on fast networks never need it. */
async function openPool(): Promise<Piscina<CompressJob, CompressedJob>> {
  const { Piscina: Pool } = await import('piscina');
  const file = `compress-worker${extname(import.meta.filename)}`;
  return new Pool<CompressJob, CompressedJob>({
    filename: join(import.meta.dirname, file),
    name: 'compressUnit',
    minThreads: 0,
    maxThreads: THREADS,
    maxQueue: MAX_UNDER_WAY,
    idleTimeout: IDLE_MS,
    resourceLimits: THREAD_LIMITS,
    recordTiming: false,
    workerHistogram: false,
  });
}
