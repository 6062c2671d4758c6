import type { Clock } from '../base/clock.ts';
import { yieldsTo } from '../base/priority.ts';
import type { Priority } from '../base/priority.ts';

// Words of the memory; times are in ms.
const MOVED = 0;
const MOVED_MS = 1;
const DUE = 2;
const NEXT_MS = 3;
const WORDS = 4;

/** A release of which nothing came for so long needs no way. */
const FLOWING_MS = 500;
/** Of a release so many bytes come for each that others take. */
const RATIO = 8;
/** However much comes of releases, others take a chunk so often: so they move, also where it is not they who slow it. */
const CHUNK_MS = 200;
const LOOK_MS = 10;

/**
 * Makes way for releases among the bodies that are read from origins at the same time, in all threads that are given
 * the memory: what yields to them is read so much slower, and asked for in parts, that link and processor are theirs.
 */
export class ReleaseWay {
  readonly #words: BigInt64Array;
  readonly #clock: Clock;

  /** Memory that threads share; without it this is one of its own. The clocks must have the same monotonic time. */
  constructor(shared: SharedArrayBuffer | undefined, clock: Clock) {
    this.#words = new BigInt64Array(shared ?? releaseMemory());
    this.#clock = clock;
  }

  /**
   * Bytes of a body came: of a release others make way for it, of others it resolves when the next may be read.
   * `onYield`: a release flows, so it will be read slowly.
   */
  async came(
    bytes: number,
    priority: Priority,
    { signal, onYield }: { readonly signal: AbortSignal; readonly onYield?: () => void },
  ): Promise<void> {
    if (priority === 'release') {
      Atomics.add(this.#words, MOVED, BigInt(bytes));
      Atomics.store(this.#words, MOVED_MS, this.#now());
      return;
    }
    if (!yieldsTo(priority, 'release')) return;
    if (!this.#isFlowing) return;
    onYield?.();
    while (this.#isFlowing && !this.#takeTurn(bytes)) await this.#clock.sleep(LOOK_MS, { signal });
  }

  get #isFlowing(): boolean {
    const at = Atomics.load(this.#words, MOVED_MS);
    return at > 0n && this.#now() - at < BigInt(FLOWING_MS);
  }

  /** One turn for all who yield: when enough has come of releases since the last, or it was long ago. */
  #takeTurn(bytes: number): boolean {
    const now = this.#now();
    const moved = Atomics.load(this.#words, MOVED);
    const due = Atomics.load(this.#words, DUE);
    const next = Atomics.load(this.#words, NEXT_MS);
    if (moved < due && now < next) return false;
    // Of several threads that look at once one gets it.
    if (Atomics.compareExchange(this.#words, NEXT_MS, next, now + BigInt(CHUNK_MS)) !== next) {
      return false;
    }
    Atomics.store(this.#words, DUE, moved + BigInt(bytes * RATIO));
    return true;
  }

  #now(): bigint {
    return BigInt(Math.round(this.#clock.monotonic()));
  }
}

/** Memory for the threads of one program. */
export function releaseMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(WORDS * BigInt64Array.BYTES_PER_ELEMENT);
}
