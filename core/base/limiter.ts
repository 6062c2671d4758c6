import { abortable } from './clock.ts';
import { CodedError } from './error.ts';

/** A counted permit; dispose it to give it back. */
export type Slot = Disposable;

interface Waiter {
  readonly resolve: (slot: Slot) => void;
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
    const { promise, resolve } = Promise.withResolvers<Slot>();
    const waiter = { resolve };
    this.#waiting.push(waiter);
    try {
      return await abortable(promise, signal);
    } catch (error) {
      this.#giveUp(waiter, promise);
      throw CodedError.from(error);
    }
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

  #giveUp(waiter: Waiter, promise: Promise<Slot>): void {
    const index = this.#waiting.indexOf(waiter);
    if (index >= 0) this.#waiting.splice(index, 1);
    // Its turn came in the same moment: the slot goes to the next.
    else void promise.then((slot) => slot[Symbol.dispose]());
  }
}
