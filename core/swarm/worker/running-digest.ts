import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** A digest by any algorithm that users may name, of bytes as they come. */
export class RunningDigest {
  readonly #algorithm: string;
  /** Absent for crc32, which is no hash of the library. */
  readonly #hash: Hash | undefined;
  #sum = 0;

  constructor(algorithm: string) {
    this.#algorithm = algorithm;
    this.#hash = algorithm === 'crc32' ? undefined : createHash(algorithm);
  }

  update(chunk: Uint8Array): void {
    if (this.#hash === undefined) this.#sum = crc32(chunk, this.#sum);
    else this.#hash.update(chunk);
  }

  /** `ALGO:HEX` of everything so far, which must be the end. */
  text(): string {
    const hex = this.#hash?.digest('hex') ?? this.#sum.toString(16).padStart(8, '0');
    return `${this.#algorithm}:${hex}`;
  }
}
