import { abortable } from '../../base/clock.ts';
import type { CodedError } from '../../base/error.ts';
import type { FrameKind } from './frame-codec.ts';

/** A frame that waits to be read. */
export interface Letter {
  readonly kind: FrameKind;
  readonly text: string;
}

/** What a waiting frame costs besides its text: a flood of empty frames counts too. */
const LETTER_OVERHEAD_BYTES = 64;

/** Frames received and not yet read; says when it is full and when there is room again. */
export class Inbox {
  readonly #highWaterBytes: number;
  readonly #onFull: () => void;
  readonly #onRoom: () => void;
  readonly #letters: Letter[] = [];
  readonly #wakers = new Set<() => void>();
  #bytes = 0;
  #isFull = false;
  #hasEnded = false;
  #error: CodedError | undefined;

  constructor(options: { highWaterBytes: number; onFull: () => void; onRoom: () => void }) {
    this.#highWaterBytes = options.highWaterBytes;
    this.#onFull = options.onFull;
    this.#onRoom = options.onRoom;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  push(letter: Letter): void {
    if (this.#hasEnded) return;
    this.#letters.push(letter);
    this.#bytes += costOf(letter);
    if (!this.#isFull && this.#bytes > this.#highWaterBytes) {
      this.#isFull = true;
      this.#onFull();
    }
    this.#wake();
  }

  /** The next frame; undefined after a regular end; throws `error` after the last one when it ended so. */
  async take(options: { signal?: AbortSignal | undefined } = {}): Promise<Letter | undefined> {
    for (;;) {
      const letter = this.#letters.shift();
      if (letter !== undefined) {
        this.#release(letter);
        return letter;
      }
      if (this.#error !== undefined) throw this.#error;
      if (this.#hasEnded) return undefined;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wakers.add(resolve);
      try {
        await abortable(promise, options.signal);
      } finally {
        this.#wakers.delete(resolve);
      }
    }
  }

  /** Nothing more comes; what is here can still be read, unless it is dropped. */
  end(error: CodedError | undefined, options: { drop?: boolean } = {}): void {
    if (options.drop === true) {
      this.#letters.length = 0;
      this.#bytes = 0;
    }
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#error = error;
    this.#wake();
  }

  #release(letter: Letter): void {
    this.#bytes -= costOf(letter);
    if (this.#isFull && this.#bytes <= this.#highWaterBytes / 2) {
      this.#isFull = false;
      if (!this.#hasEnded) this.#onRoom();
    }
  }

  #wake(): void {
    for (const wake of this.#wakers) wake();
  }
}

function costOf(letter: Letter): number {
  return letter.text.length + LETTER_OVERHEAD_BYTES;
}
