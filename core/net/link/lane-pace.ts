import { MAX_BLOCK_BYTES } from './frame.ts';

/** A block is what a reader takes in so long: what is behind it need not wait, and what is cancelled costs no more. */
const BLOCK_MS = 250;
const LEAST_BYTES = 16_384;

/** How fast a reader takes blocks, and how long its next one may be. */
export class LanePace {
  #blockBytes: number;
  #bytesPerMs = Number.POSITIVE_INFINITY;

  /** `blockBytes`: where to begin. */
  constructor(blockBytes = MAX_BLOCK_BYTES) {
    this.#blockBytes = blockBytes;
  }

  /** Longest block that is worth sending. */
  get blockBytes(): number {
    return this.#blockBytes;
  }

  /** A block was taken in `ms`. A socket that was idle takes one at once, whatever the path, so growth is in steps. */
  took(bytes: number, ms: number): void {
    // The rest of a piece says little.
    if (bytes < LEAST_BYTES) return;
    this.#bytesPerMs = bytes / Math.max(ms, 0.01);
    let next = Math.min(MAX_BLOCK_BYTES, 2 * this.#blockBytes);
    while (next > LEAST_BYTES && next > this.#bytesPerMs * BLOCK_MS) next /= 2;
    this.#blockBytes = next;
  }

  /** Bytes per ms, with a block of which nothing is known but that it is under way for `ms`. */
  rate(bytes: number, ms: number): number {
    return Math.min(this.#bytesPerMs, bytes / Math.max(ms, 0.01));
  }
}
