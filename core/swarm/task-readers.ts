import type { Clock } from '../base/clock.ts';
import type { StoredTask } from '../store/piece-store.ts';

/** Pieces that somebody who reads in order needs next: `pieces` of them from the `first` that is missing. */
export interface ReadWindow {
  readonly first: number;
  readonly pieces: number;
}

/** One who reads in order; dispose it when he has all he wants. */
export interface TaskReader extends Disposable {
  /** He has what comes before this byte. */
  moveTo(at: number): void;
}

/** Somebody takes a piece while it comes in; dispose it when he has it, or does not want it any more. */
export interface EarlyPiece extends Disposable {
  /** So many of its first bytes are in the file, not verified. */
  readonly bytes: number;
}

/** Seconds of what comes in that are fetched ahead of a reader. */
const AHEAD_SECONDS = 1;
/** As few as this at any rate: it leaves parents something to choose from. */
const AHEAD_PIECES = 16;
/** Places in the content that are preferred at a time; of more readers those that came first count. */
const MAX_WINDOWS = 8;
const SLOT_MS = 1_000;

interface Place {
  /** The piece that is read now. */
  piece: number;
  /** No piece from there up to this one is missing. */
  firstMissing: number;
  readonly lastPiece: number;
}

/** Who reads a version in order while it comes in, and which pieces that makes worth having first. */
export class TaskReaders {
  readonly #stored: StoredTask;
  readonly #clock: Clock;
  readonly #places = new Set<Place>();
  readonly #listeners = new Set<() => void>();
  /** By piece. */
  readonly #early = new Map<number, { bytes: number; readers: number }>();
  #expected: Place | undefined;
  #slot = { startMs: 0, pieces: 0 };
  #piecesPerSecond = 0;

  constructor(stored: StoredTask, clock: Clock) {
    this.#stored = stored;
    this.#clock = clock;
  }

  /** Calls `onNews` whenever a piece came, or more is known of the content, until the returned is called. */
  listen(onNews: () => void): () => void {
    this.#listeners.add(onNews);
    return () => void this.#listeners.delete(onNews);
  }

  /** Somebody will read from byte `start` on: until anybody does, that is where it begins. */
  expect(start: number): void {
    const piece = Math.floor(start / this.#stored.pieceLength);
    this.#expected = { piece, firstMissing: piece, lastPiece: Infinity };
    this.#places.add(this.#expected);
  }

  /** One more who reads bytes `[start, end)` in order. */
  add({ start, end }: { readonly start: number; readonly end?: number }): TaskReader {
    const { pieceLength } = this.#stored;
    const piece = Math.floor(start / pieceLength);
    const lastPiece = end === undefined ? Infinity : Math.ceil(end / pieceLength) - 1;
    const place = { piece, firstMissing: piece, lastPiece };
    this.#places.add(place);
    if (this.#expected !== undefined) this.#places.delete(this.#expected);
    this.news();
    return {
      moveTo: (at) => {
        place.piece = Math.floor(at / pieceLength);
        place.firstMissing = Math.max(place.piece, place.firstMissing);
      },
      [Symbol.dispose]: () => void this.#places.delete(place),
    };
  }

  /** One more who takes the piece while it comes in. */
  readEarly(piece: number): EarlyPiece {
    const early = this.#early.get(piece) ?? { bytes: 0, readers: 0 };
    this.#early.set(piece, early);
    early.readers += 1;
    return {
      get bytes() {
        return early.bytes;
      },
      [Symbol.dispose]: () => {
        early.readers -= 1;
        if (early.readers === 0) this.#early.delete(piece);
      },
    };
  }

  /** True when somebody takes the piece while it comes in. */
  isEarly(piece: number): boolean {
    return this.#early.has(piece);
  }

  /** So many bytes of the piece are in the file, not verified. */
  came(piece: number, bytes: number): void {
    const early = this.#early.get(piece);
    if (early === undefined || early.bytes >= bytes) return;
    early.bytes = bytes;
    this.news();
  }

  /** A piece came. */
  had(): void {
    const now = this.#clock.monotonic();
    if (now - this.#slot.startMs >= SLOT_MS) {
      const seconds = (now - this.#slot.startMs) / 1000;
      this.#piecesPerSecond = this.#slot.pieces / seconds;
      this.#slot = { startMs: now, pieces: 0 };
    }
    this.#slot.pieces += 1;
    this.news();
  }

  /** Pieces that were there are missing again. */
  lost(): void {
    for (const place of this.#places) place.firstMissing = place.piece;
  }

  /** More is known of the content. */
  news(): void {
    for (const listener of this.#listeners) listener();
  }

  /** What readers need next, who came first first; empty when nobody reads, or lacks anything that he wants. */
  windows(): readonly ReadWindow[] {
    const rate = Math.max(this.#piecesPerSecond, this.#slot.pieces / (SLOT_MS / 1000));
    const pieces = Math.max(AHEAD_PIECES, Math.ceil(rate * AHEAD_SECONDS));
    const firsts = new Set<number>();
    for (const place of this.#places) {
      const first = this.#firstMissing(place);
      if (first !== undefined) firsts.add(first);
      if (firsts.size >= MAX_WINDOWS) break;
    }
    return [...firsts].map((first) => ({ first, pieces }));
  }

  #firstMissing(place: Place): number | undefined {
    const had = this.#stored.pieces;
    const last = Math.min(place.lastPiece, had.length - 1);
    while (place.firstMissing <= last && had.has(place.firstMissing)) place.firstMissing += 1;
    return place.firstMissing <= last ? place.firstMissing : undefined;
  }
}
