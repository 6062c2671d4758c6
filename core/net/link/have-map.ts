import { Bitfield } from '../../piece/bitfield.ts';
import { MAX_PIECES, UNKNOWN_PIECES, protocolError } from './frame.ts';

/** Which pieces the other side has, as it says. Grows while the number of pieces is unknown. */
export class HaveMap {
  #bits: Bitfield;
  /** Number of pieces of the task, when the other side knows it. */
  readonly pieceCount: number | undefined;

  /** From OPENED: the number of pieces or `UNKNOWN_PIECES`, and the map; ERR_PROTOCOL when they contradict each other. */
  constructor(pieces: number, map: Uint8Array) {
    if (pieces !== UNKNOWN_PIECES && pieces > MAX_PIECES) {
      throw protocolError(`a task has ${pieces} pieces, ${MAX_PIECES} at most`);
    }
    this.pieceCount = pieces === UNKNOWN_PIECES ? undefined : pieces;
    const length = this.pieceCount ?? map.length * 8;
    const bytes = Math.ceil(length / 8);
    if (map.length > bytes) throw protocolError('the have-map is longer than the task');
    const copy = new Uint8Array(bytes);
    copy.set(map);
    this.#bits = new Bitfield(length, copy);
  }

  get count(): number {
    return this.#bits.count;
  }

  /** Indexes that may be announced are below this. */
  get limit(): number {
    return this.pieceCount ?? MAX_PIECES;
  }

  has(piece: number): boolean {
    return this.#bits.has(piece);
  }

  set(piece: number): void {
    if (piece >= this.#bits.length) this.#grow(piece + 1);
    this.#bits.set(piece);
  }

  clear(piece: number): void {
    this.#bits.clear(piece);
  }

  /** The pieces it has, ascending. */
  indexes(): number[] {
    return [...this.#bits.indexes()];
  }

  /** A copy of the map, lowest index in the highest bit of the first byte. */
  snapshot(): Uint8Array<ArrayBuffer> {
    return this.#bits.snapshot();
  }

  #grow(needed: number): void {
    const length = Math.min(MAX_PIECES, Math.max(needed, 2 * this.#bits.length));
    const bytes = new Uint8Array(Math.ceil(length / 8));
    bytes.set(this.#bits.bytes);
    this.#bits = new Bitfield(length, bytes);
  }
}
