/** A bounded queue between one producer side and one async consumer; full means refused, never grown. */
export class BoundedQueue<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  readonly #maxItems: number;
  #wake: (() => void) | undefined;
  #closed = false;
  #error: Error | undefined;

  constructor(options: { maxItems: number }) {
    this.#maxItems = options.maxItems;
  }

  get size(): number {
    return this.#items.length;
  }

  /** Adds an item; false when the queue is full or closed, and the item was not taken. */
  push(item: T): boolean {
    if (this.#closed || this.#items.length >= this.#maxItems) return false;
    this.#items.push(item);
    this.#wake?.();
    return true;
  }

  /** Ends the queue; what is in it is still delivered, then `error` (if any) is thrown. */
  close(error?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) {
        yield item;
        continue;
      }
      if (this.#closed) {
        if (this.#error !== undefined) throw this.#error;
        return;
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
  }
}
