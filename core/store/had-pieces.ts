import { CodedError } from '../base/error.ts';
import { Bitfield } from '../piece/bitfield.ts';
import { bitCapacity, bitsOfRow, UNKNOWN_LENGTH_PIECES } from './task-row.ts';
import type { TaskRow } from './task-row.ts';

interface Mark {
  done: Promise<void>;
}

/**
 * Which pieces a task has: `verified` ones are journalled and may be told to anybody, `marking` ones wait for
 * their journal write, `suspect` ones for being hashed again. Verified and suspect never overlap.
 */
export class HadPieces {
  readonly pieceLength: number;
  #length: number | undefined;
  #verified: Bitfield;
  #suspect: Bitfield | undefined;
  readonly #marking = new Map<number, Mark>();

  constructor(row: TaskRow) {
    this.pieceLength = row.pieceLength;
    this.#length = row.length;
    const had = bitsOfRow(row);
    this.#verified = Bitfield.shared(bitCapacity(row));
    if (row.isSuspect && had.count > 0) this.#suspect = had;
    else for (const piece of had.indexes()) this.#verified.set(piece);
  }

  get length(): number | undefined {
    return this.#length;
  }

  get verified(): Bitfield {
    return this.#verified;
  }

  get suspect(): Bitfield | undefined {
    return this.#suspect;
  }

  get verifiedBytes(): number {
    return this.#bytesOf(this.#verified);
  }

  get storedBytes(): number {
    return this.verifiedBytes + (this.#suspect === undefined ? 0 : this.#bytesOf(this.#suspect));
  }

  /** Has the piece in every journal row from now on, and among the verified once `journal` resolves; RangeError past the last, ERR_NO_SPACE past what is kept of unknown length. */
  async mark(piece: number, journal: () => Promise<void>): Promise<void> {
    this.#checkIndex(piece);
    if (this.#verified.has(piece)) return;
    const underway = this.#marking.get(piece);
    if (underway !== undefined) return underway.done;
    const mark: Mark = { done: Promise.resolve() };
    this.#marking.set(piece, mark);
    this.#suspect?.clear(piece);
    mark.done = this.#confirm(piece, mark, journal);
    return mark.done;
  }

  async #confirm(piece: number, mark: Mark, journal: () => Promise<void>): Promise<void> {
    try {
      await journal();
      // Cleared meanwhile, or cleared and marked anew: then it is not this call's to set.
      if (this.#marking.get(piece) === mark) this.#verified.set(piece);
    } finally {
      if (this.#marking.get(piece) === mark) this.#marking.delete(piece);
    }
  }

  clear(pieces: Iterable<number>): void {
    for (const piece of pieces) {
      this.#marking.delete(piece);
      this.#suspect?.clear(piece);
      this.#verified.clear(piece);
    }
  }

  clearAll(): void {
    this.clear([...this.#marking.keys()]);
    this.#suspect = undefined;
    this.clear([...this.#verified.indexes()]);
  }

  /** Ends suspicion: what is still suspect has been verified. */
  acquit(): void {
    const suspect = this.#suspect;
    this.#suspect = undefined;
    if (suspect !== undefined) for (const piece of suspect.indexes()) this.#verified.set(piece);
  }

  /** Cuts everything to the pieces of `length` bytes, over the same memory; ERR_MANIFEST when another length is known. */
  setLength(length: number): void {
    const bits = bitCapacity({ length, pieceLength: this.pieceLength });
    const known = this.#length;
    const isPossible = Number.isSafeInteger(length) && length >= 0 && bits <= this.#verified.length;
    if (known !== undefined || !isPossible) {
      throw new CodedError('ERR_MANIFEST', 'the length contradicts what is known', {
        detail: { length, ...(known === undefined ? {} : { known }) },
      });
    }
    this.#length = length;
    this.#verified = cut(this.#verified, bits);
    if (this.#suspect !== undefined) this.#suspect = cut(this.#suspect, bits);
    for (const piece of this.#marking.keys()) if (piece >= bits) this.#marking.delete(piece);
  }

  /** Every piece whose bytes are on disk, as a row of the journal has it. */
  snapshot(): Uint8Array {
    const bytes = this.#verified.snapshot();
    const add = (piece: number): void => {
      bytes[piece >> 3] = (bytes[piece >> 3] ?? 0) | (0x80 >> (piece & 7));
    };
    for (const piece of this.#marking.keys()) add(piece);
    if (this.#suspect !== undefined) for (const piece of this.#suspect.indexes()) add(piece);
    return bytes;
  }

  #checkIndex(piece: number): void {
    if (Number.isSafeInteger(piece) && piece >= 0 && piece < this.#verified.length) return;
    if (this.#length !== undefined || !(piece >= 0)) throw new RangeError(`piece ${piece}`);
    throw new CodedError('ERR_NO_SPACE', 'content of unknown length has too many pieces', {
      detail: { pieces: UNKNOWN_LENGTH_PIECES, pieceLength: this.pieceLength },
    });
  }

  #bytesOf(pieces: Bitfield): number {
    const bytes = pieces.count * this.pieceLength;
    if (this.#length === undefined || !pieces.has(pieces.length - 1)) return bytes;
    return bytes - (pieces.length * this.pieceLength - this.#length);
  }
}

function cut(pieces: Bitfield, bits: number): Bitfield {
  for (const piece of pieces.indexes()) if (piece >= bits) pieces.clear(piece);
  return new Bitfield(bits, pieces.bytes.subarray(0, Math.ceil(bits / 8)));
}
