/** A set of piece indexes; shared with worker threads when built over a `SharedArrayBuffer`. */
export class Bitfield {
  readonly bytes: Uint8Array;
  readonly length: number;
  #count: number;

  /** `bytes` holds `length` bits, lowest index in the highest bit of the first byte. */
  constructor(length: number, bytes: Uint8Array = new Uint8Array(Math.ceil(length / 8))) {
    if (bytes.length < Math.ceil(length / 8)) {
      throw new RangeError(`${bytes.length} bytes cannot hold ${length} bits`);
    }
    this.length = length;
    this.bytes = bytes;
    this.#count = countBits(bytes, length);
  }

  /** One whose bytes other threads can read while this thread sets bits. */
  static shared(length: number): Bitfield {
    return new Bitfield(length, new Uint8Array(new SharedArrayBuffer(Math.ceil(length / 8))));
  }

  /** How many bits are set (as seen by the thread that sets them). */
  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count === this.length;
  }

  has(index: number): boolean {
    if (index < 0 || index >= this.length) return false;
    return ((this.bytes[index >> 3] ?? 0) & (0x80 >> (index & 7))) !== 0;
  }

  /** Sets a bit; true when it was not set before. */
  set(index: number): boolean {
    if (index < 0 || index >= this.length) throw new RangeError(`bit ${index} of ${this.length}`);
    if (this.has(index)) return false;
    this.bytes[index >> 3] = (this.bytes[index >> 3] ?? 0) | (0x80 >> (index & 7));
    this.#count += 1;
    return true;
  }

  /** Clears a bit; true when it was set before. */
  clear(index: number): boolean {
    if (!this.has(index)) return false;
    this.bytes[index >> 3] = (this.bytes[index >> 3] ?? 0) & ~(0x80 >> (index & 7));
    this.#count -= 1;
    return true;
  }

  /** The indexes that are set, ascending. */
  *indexes(): Generator<number> {
    for (let index = 0; index < this.length; index += 1) {
      if (this.has(index)) yield index;
    }
  }

  /** A copy of the bytes that no other thread shares. */
  snapshot(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.bytes);
  }
}

function countBits(bytes: Uint8Array, length: number): number {
  let count = 0;
  for (let index = 0; index < length; index += 1) {
    if (((bytes[index >> 3] ?? 0) & (0x80 >> (index & 7))) !== 0) count += 1;
  }
  return count;
}
