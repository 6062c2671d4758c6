import { CodedError } from '../base/error.ts';
import type { PieceStore, StoredTask } from '../store/piece-store.ts';

/** In the place of a piece: there is no room for more. */
export const NO_ROOM = -1;

/**
 * Room for a body of unknown length. The worker that writes it waits at each piece until room for that is taken, so
 * the quota holds however fast the origin sends; it fails only when there are bytes that have none.
 */
export class BodyRoom implements Disposable {
  /** Shared with the worker: pieces before this one may be written, or `NO_ROOM`. */
  readonly mayWrite = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  readonly #store: PieceStore;
  readonly #stored: StoredTask;
  readonly #holds = new Map<number, Disposable>();
  #failure: CodedError | undefined;
  #isOver = false;

  constructor(store: PieceStore, stored: StoredTask) {
    this.#store = store;
    this.#stored = stored;
  }

  /** Why there was no room. */
  get failure(): CodedError | undefined {
    return this.#failure;
  }

  /** Takes room for the piece that comes next, and lets the worker know. */
  async admit(piece: number): Promise<void> {
    try {
      const hold = await this.#store.grow(this.#stored, [piece]);
      if (this.#isOver) return hold[Symbol.dispose]();
      this.#holds.set(piece, hold);
      this.#tell(piece + 1);
    } catch (error) {
      this.#failure = CodedError.from(error);
      this.#tell(NO_ROOM);
    }
    for (const [held, hold] of this.#holds) {
      if (!this.#stored.pieces.has(held)) continue;
      hold[Symbol.dispose]();
      this.#holds.delete(held);
    }
  }

  /** Gives back what was taken for pieces that did not come. */
  [Symbol.dispose](): void {
    this.#isOver = true;
    for (const hold of this.#holds.values()) hold[Symbol.dispose]();
    this.#holds.clear();
    this.#tell(NO_ROOM);
  }

  #tell(piece: number): void {
    Atomics.store(this.mayWrite, 0, piece);
    Atomics.notify(this.mayWrite, 0);
  }
}
