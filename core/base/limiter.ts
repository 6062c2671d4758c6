import { CodedError } from './error.ts';

/** A counted permit; dispose it to give it back. */
export type Slot = Disposable;

interface Waiter {
  readonly resolve: (slot: Slot) => void;
  readonly reject: (error: Error) => void;
  readonly signal: AbortSignal | undefined;
}

/** At most `max` holders at a time and `maxWaiting` in line; past that `acquire` throws ERR_BUSY. */
export class Limiter {
  readonly #max: number;
  readonly #maxWaiting: number;
  readonly #waiting: Waiter[] = [];
  #active = 0;

  constructor(options: { max: number; maxWaiting: number }) {
    this.#max = options.max;
    this.#maxWaiting = options.maxWaiting;
  }

  get active(): number {
    return this.#active;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  async acquire(options: { signal?: AbortSignal | undefined } = {}): Promise<Slot> {
    const { signal } = options;
    signal?.throwIfAborted();
    if (this.#active < this.#max) return this.#grant();
    if (this.#waiting.length >= this.#maxWaiting) {
      throw new CodedError('ERR_BUSY', `${this.#maxWaiting} are waiting already`, {
        detail: { active: this.#active, waiting: this.#waiting.length },
      });
    }
    return new Promise<Slot>((resolve, reject) => {
      const waiter: Waiter = { resolve, reject, signal };
      this.#waiting.push(waiter);
      signal?.addEventListener('abort', () => this.#giveUp(waiter), { once: true });
    });
  }

  #grant(): Slot {
    this.#active += 1;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#active -= 1;
        const next = this.#waiting.shift();
        next?.resolve(this.#grant());
      },
    };
  }

  #giveUp(waiter: Waiter): void {
    const index = this.#waiting.indexOf(waiter);
    if (index < 0) return;
    this.#waiting.splice(index, 1);
    waiter.reject(CodedError.from(waiter.signal?.reason));
  }
}
