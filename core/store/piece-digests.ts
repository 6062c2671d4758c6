import { Buffer } from 'node:buffer';
import type { StoredBatch } from './task-row.ts';

const DIGEST_BYTES = 32;

/** Who stands behind a digest: the cell, or one host while no supernode answers. */
export type DigestOrigin =
  | { readonly origin: 'signed' }
  | { readonly origin: 'provisional'; readonly signer: string };

/** A piece whose digest two sides state differently. */
export interface DigestConflict {
  readonly piece: number;
  /** Who had vouched for the digest that loses; undefined: the cell, which contradicts itself. */
  readonly signer: string | undefined;
}

/** What a batch would change. */
export interface BatchEffect {
  /** Entries that nobody stated before, or that only now are signed. */
  readonly isNews: boolean;
  /** Entries that contradict what is known. */
  readonly conflicts: readonly DigestConflict[];
}

/** The digests of one task's pieces, packed: 32 bytes a piece. A signed one wins over a provisional one. */
export class PieceDigests {
  #bytes = Buffer.alloc(0);
  /** One byte a piece: 0 unknown, 1 known. */
  #known = new Uint8Array(0);
  readonly #provisional = new Map<number, string>();

  static of(batches: Iterable<StoredBatch>): PieceDigests {
    const digests = new PieceDigests();
    for (const batch of batches) digests.add(batch);
    return digests;
  }

  /** 64 hex digits, or undefined when nobody stated it. */
  get(piece: number): string | undefined {
    if (this.#known[piece] !== 1) return undefined;
    return this.#bytes.toString('hex', piece * DIGEST_BYTES, (piece + 1) * DIGEST_BYTES);
  }

  originOf(piece: number): DigestOrigin | undefined {
    if (this.#known[piece] !== 1) return undefined;
    const signer = this.#provisional.get(piece);
    return signer === undefined ? { origin: 'signed' } : { origin: 'provisional', signer };
  }

  /** The pieces that are known, ascending. */
  *pieces(): Generator<number> {
    for (let piece = 0; piece < this.#known.length; piece += 1) {
      if (this.#known[piece] === 1) yield piece;
    }
  }

  /** What `add` would do; nothing is changed. */
  effectOf(batch: StoredBatch): BatchEffect {
    let isNews = false;
    const conflicts: DigestConflict[] = [];
    for (const { index: piece, digest } of batch.entries) {
      const known = this.get(piece);
      const signer = this.#provisional.get(piece);
      const isSame = known === digest;
      if (known !== undefined && !isSame) conflicts.push({ piece, signer });
      if (known === undefined) isNews = true;
      else if (batch.signer === undefined && signer !== undefined) isNews = true;
    }
    return { isNews, conflicts };
  }

  /** Takes a batch over; a provisional entry never replaces what is known. */
  add(batch: StoredBatch): void {
    for (const { index, digest } of batch.entries) {
      if (batch.signer === undefined) {
        this.#put(index, digest);
        this.#provisional.delete(index);
      } else if (this.#known[index] !== 1) {
        this.#put(index, digest);
        this.#provisional.set(index, batch.signer);
      }
    }
  }

  #put(piece: number, digest: string): void {
    if (piece >= this.#known.length) this.#grow(piece + 1);
    this.#bytes.write(digest, piece * DIGEST_BYTES, 'hex');
    this.#known[piece] = 1;
  }

  #grow(needed: number): void {
    const pieces = Math.max(needed, this.#known.length * 2, 16);
    const bytes = Buffer.alloc(pieces * DIGEST_BYTES);
    bytes.set(this.#bytes);
    const known = new Uint8Array(pieces);
    known.set(this.#known);
    this.#bytes = bytes;
    this.#known = known;
  }
}
