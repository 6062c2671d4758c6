import { abortable } from '../../base/clock.ts';
import type { CodedError } from '../../base/error.ts';

/** Frames are handed to the channel in runs of up to this many bytes: each hand-over is one encryption and one write. */
const RUN_BYTES = 65_536;

interface Waiter {
  readonly belowBytes: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Frames not yet taken by the channel, bounded in bytes; frames of one turn of the event loop leave together. */
export class Outbox {
  readonly #maxBytes: number;
  readonly #write: (bytes: Uint8Array) => boolean;
  readonly #waiters = new Set<Waiter>();
  #frames: Uint8Array[] = [];
  #bytes = 0;
  #isWritable = true;
  #isScheduled = false;
  #hasEnded = false;

  /** `write` must not throw; false means: no more before `onDrain()`. */
  constructor(options: { maxBytes: number; write: (bytes: Uint8Array) => boolean }) {
    this.#maxBytes = options.maxBytes;
    this.#write = options.write;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** True when nothing waits and the channel takes more. */
  get isIdle(): boolean {
    return this.#bytes === 0 && this.#isWritable;
  }

  /** Takes a frame to be sent; false when it does not fit. */
  push(frame: Uint8Array): boolean {
    if (this.#hasEnded || this.#bytes + frame.length > this.#maxBytes) return false;
    this.#frames.push(frame);
    this.#bytes += frame.length;
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      queueMicrotask(() => this.flush());
    }
    return true;
  }

  /** The channel takes bytes again. */
  onDrain(): void {
    this.#isWritable = true;
    this.flush();
  }

  /** Hands over what the channel takes now. */
  flush(): void {
    this.#isScheduled = false;
    while (this.#isWritable && this.#frames.length > 0) {
      const run = this.#nextRun();
      this.#bytes -= run.length;
      this.#isWritable = this.#write(run);
    }
    this.#wake();
  }

  /** Resolves once fewer than `belowBytes` wait; rejects when the outbox ends first. */
  async below(belowBytes: number, options: { signal?: AbortSignal | undefined }): Promise<void> {
    if (this.#bytes < belowBytes) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { belowBytes, resolve, reject };
    this.#waiters.add(waiter);
    try {
      await abortable(promise, options.signal);
    } finally {
      this.#waiters.delete(waiter);
    }
  }

  /** Drops what waits. */
  end(error: CodedError): void {
    this.#hasEnded = true;
    this.#frames = [];
    this.#bytes = 0;
    for (const waiter of this.#waiters) waiter.reject(error);
    this.#waiters.clear();
  }

  #nextRun(): Uint8Array {
    let count = 0;
    let bytes = 0;
    for (const frame of this.#frames) {
      if (count > 0 && bytes + frame.length > RUN_BYTES) break;
      count += 1;
      bytes += frame.length;
    }
    const run = this.#frames.splice(0, count);
    const [only] = run;
    return run.length === 1 && only !== undefined ? only : Buffer.concat(run, bytes);
  }

  #wake(): void {
    for (const waiter of this.#waiters) if (this.#bytes < waiter.belowBytes) waiter.resolve();
  }
}
