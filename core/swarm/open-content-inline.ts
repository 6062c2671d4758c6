import { abortReason } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { TaskShape } from '../wire/messages.ts';
import type { OpenContent } from './open-content.ts';

/** Content that came inside the reply, whole and checked, as content that is open. */
export class InlineContent implements OpenContent {
  readonly task: string;
  readonly shape: TaskShape;
  readonly #bytes: Uint8Array;

  constructor(parts: {
    readonly task: string;
    readonly shape: TaskShape;
    readonly bytes: Uint8Array;
  }) {
    this.task = parts.task;
    this.shape = parts.shape;
    this.#bytes = parts.bytes;
  }

  get version(): string {
    return this.shape.version;
  }

  get length(): number {
    return this.#bytes.length;
  }

  async lengthKnown(): Promise<number> {
    return this.length;
  }

  readyUntil(): number {
    return this.length;
  }

  async *read(
    { start, end = this.length }: { readonly start: number; readonly end?: number },
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<Uint8Array, void, undefined> {
    if (signal.aborted) throw CodedError.from(abortReason(signal));
    if (start > this.length) {
      const message = `byte ${start} lies outside the content of ${this.length} bytes`;
      throw new CodedError('ERR_ORIGIN_RANGE', message, {
        detail: { start, length: this.length },
      });
    }
    if (start < end) yield this.#bytes.subarray(start, end);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // There is nothing to give up.
  }
}
