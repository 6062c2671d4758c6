import { FLAG_OFFER, MAX_INDEXES, MAX_MANIFEST_BYTES, encodeFrame, frameTypes } from './frame.ts';
import { encodeIndexes, isSendableBatch } from './messages.ts';

/** Announcements that may wait for one reader; one that is so far behind takes nothing. */
const MAX_WAITING = 65_536;
/** Manifest frames are filled up to this, unless one batch alone is longer. */
const MANIFEST_FRAME_BYTES = 65_536;

/** What is said of a piece: it may be asked for, it is to be asked for before others, it may not any more. */
export type Announcement = 'have' | 'offer' | 'unhave';

/** What one channel has to tell besides data. While the reader is behind, announcements of a piece replace each other. */
export class Outbox {
  readonly #channel: number;
  readonly #load: () => number;
  readonly #pieces = new Map<number, Announcement>();
  readonly #batches = new Set<string>();

  /** `load`: requests that wait here, told with each announcement. */
  constructor(channel: number, load: () => number = () => 0) {
    this.#channel = channel;
    this.#load = load;
  }

  /** False when too much is waiting already. */
  announce(pieces: readonly number[], what: Announcement): boolean {
    for (const piece of pieces) this.#pieces.set(piece, what);
    return this.#pieces.size <= MAX_WAITING;
  }

  /** False when too much is waiting already; a batch that no frame can carry is left out. */
  offer(batches: readonly string[]): boolean {
    for (const batch of batches) if (isSendableBatch(batch)) this.#batches.add(batch);
    return this.#batches.size <= MAX_WAITING;
  }

  /** The next frame to send, or undefined when all is said. */
  next(): Buffer | undefined {
    const [first] = this.#pieces.values();
    if (first !== undefined) return this.#nextPieces(first);
    return this.#batches.size > 0 ? this.#nextBatches() : undefined;
  }

  #nextPieces(what: Announcement): Buffer {
    const pieces: number[] = [];
    for (const [piece, announced] of this.#pieces) {
      if (announced !== what || pieces.length === MAX_INDEXES) break;
      pieces.push(piece);
    }
    for (const piece of pieces) this.#pieces.delete(piece);
    const channel = this.#channel;
    const about =
      what === 'unhave'
        ? { type: frameTypes.unhave }
        : { type: frameTypes.have, flags: what === 'offer' ? FLAG_OFFER : 0, a: this.#load() };
    return encodeFrame({ ...about, channel }, encodeIndexes(pieces));
  }

  #nextBatches(): Buffer {
    const lines: string[] = [];
    let bytes = 0;
    for (const batch of this.#batches) {
      bytes += batch.length + 1;
      if (lines.length > 0 && bytes > MANIFEST_FRAME_BYTES) break;
      lines.push(batch);
    }
    for (const batch of lines) this.#batches.delete(batch);
    const fields = { type: frameTypes.manifest, channel: this.#channel };
    return encodeFrame(fields, lines.join('\n'));
  }
}

if (MANIFEST_FRAME_BYTES > MAX_MANIFEST_BYTES) throw new RangeError('manifest frames are too long');
