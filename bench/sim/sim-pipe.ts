/** A part of a piece on its way: its bytes, and how long it takes the slowest that it has passed. */
export interface Passing {
  readonly bytes: number;
  sendMs: number;
}

/** One direction of a link that many hosts share: what is sent through it leaves in the order it came. */
class SimPipe {
  readonly #bytesPerMs: number;
  #freeAtMs = 0;

  constructor(bytesPerMs: number) {
    this.#bytesPerMs = bytesPerMs;
  }

  /** A block has come in, its last byte at `atMs`; returns when that leaves. */
  pass(block: Passing, atMs: number): number {
    const passMs = block.bytes / this.#bytesPerMs;
    this.#freeAtMs = Math.max(this.#freeAtMs, atMs - block.sendMs) + passMs;
    block.sendMs = Math.max(block.sendMs, passMs);
    return Math.max(atMs, this.#freeAtMs);
  }
}

/** The links of the first idc with each other one; between two others both are passed. */
export class SimPipes {
  /** Bytes that went from one idc to another, whether of use or not. */
  crossedBytes = 0;
  readonly #out: readonly SimPipe[];
  readonly #into: readonly SimPipe[];

  constructor(about: { readonly idcs: number; readonly bytesPerMs: number }) {
    const pipes = (): SimPipe[] =>
      Array.from({ length: about.idcs - 1 }, () => new SimPipe(about.bytesPerMs));
    this.#out = pipes();
    this.#into = pipes();
  }

  /** A block goes from one idc to another, or stays in one; returns when its last byte is there. */
  pass(block: Passing, way: { readonly from: number; readonly to: number; atMs: number }): number {
    const { from, to, atMs } = way;
    if (from === to) return atMs;
    this.crossedBytes += block.bytes;
    const leftMs = this.#out[from - 1]?.pass(block, atMs) ?? atMs;
    return this.#into[to - 1]?.pass(block, leftMs) ?? leftMs;
  }
}
