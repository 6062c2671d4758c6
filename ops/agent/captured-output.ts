import type { Readable } from 'node:stream';
import { createHash } from 'node:crypto';
import type { Clock } from '../../core/base/clock.ts';

/** What is thrown away of a flood is read no faster than this: 100 MiB/s at most, so that this program stays awake. */
const FLOOD = { bytes: 1_048_576, pauseMs: 10 } as const;

/** What a program has written to one stream: its beginning is kept, all of it is counted. */
export class CapturedOutput {
  readonly #maxBytes: number;
  readonly #onWrite: () => void;
  #chunks: Buffer[] = [];
  #kept = 0;
  #bytes = 0;

  /** `onWrite` is called after there is more to `read()`. */
  constructor(maxBytes: number, onWrite: () => void = () => undefined) {
    this.#maxBytes = maxBytes;
    this.#onWrite = onWrite;
  }

  /** Bytes written. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes kept. */
  get kept(): number {
    return this.#kept;
  }

  /** Reads to the end, or until `stream` is destroyed. */
  async readAll(stream: Readable, clock: Clock): Promise<void> {
    let thrownAway = 0;
    try {
      for await (const chunk of stream) {
        if (!Buffer.isBuffer(chunk)) continue;
        thrownAway += chunk.length - this.#add(chunk);
        if (thrownAway < FLOOD.bytes) continue;
        thrownAway = 0;
        await clock.sleep(FLOOD.pauseMs);
      }
    } catch {
      // Destroyed: what was read is what there is.
    }
  }

  /** What is kept from `at` on, at most `max` bytes. */
  read(at: number, max: number): Buffer {
    return this.#whole().subarray(at, at + max);
  }

  /** What is kept. */
  contents(): Buffer {
    return this.#whole();
  }

  /** SHA-256 of what is kept. */
  digest(): string {
    return createHash('sha256').update(this.#whole()).digest('hex');
  }

  /** How much of it is kept. */
  #add(chunk: Buffer): number {
    this.#bytes += chunk.length;
    const room = this.#maxBytes - this.#kept;
    if (room <= 0) return 0;
    // A copy: a small piece of a large buffer would hold all of it.
    const kept = Buffer.from(chunk.subarray(0, room));
    this.#chunks.push(kept);
    this.#kept += kept.length;
    this.#onWrite();
    return kept.length;
  }

  #whole(): Buffer {
    const [only] = this.#chunks;
    if (only !== undefined && this.#chunks.length === 1) return only;
    const whole = Buffer.concat(this.#chunks);
    this.#chunks = [whole];
    return whole;
  }
}
