import { CodedError } from '../../core/base/error.ts';

/** Of how much work may wait at a time, and when whoever is refused should come again. */
export interface WaitingBounds {
  readonly max: number;
  readonly maxBytes: number;
  readonly retryAfterMs: number;
}

/** Bounds work that waits, in number and in bytes, by itself and within a wider limit. */
export class WaitingLimit {
  readonly #bounds: WaitingBounds;
  readonly #wider: WaitingLimit | undefined;
  #count = 0;
  #bytes = 0;

  constructor(bounds: WaitingBounds, wider?: WaitingLimit) {
    this.#bounds = bounds;
    this.#wider = wider;
  }

  get count(): number {
    return this.#count;
  }

  /** Room for one more of so many bytes, until it is disposed; ERR_BUSY with the time to wait when there is none. */
  take(bytes: number): Disposable {
    const { max, maxBytes, retryAfterMs } = this.#bounds;
    if (this.#count >= max || this.#bytes + bytes > maxBytes) {
      throw new CodedError('ERR_BUSY', 'too much is waiting already', {
        detail: { waiting: this.#count, waitingBytes: this.#bytes, retryAfterMs },
      });
    }
    const outer = this.#wider?.take(bytes);
    this.#count += 1;
    this.#bytes += bytes;
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#count -= 1;
        this.#bytes -= bytes;
        outer?.[Symbol.dispose]();
      },
    };
  }
}
