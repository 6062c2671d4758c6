import { closeSync, openSync, readSync } from 'node:fs';
import { SystemClock } from '../../core/base/clock.ts';
import { pieceCount, pieceRange } from '../../core/piece/piece-length.ts';

/** How many hosts had a piece at a moment: of the piece fewest had, of the middle one, of the one most had. */
export interface Spread {
  readonly seconds: number;
  readonly rarest: number;
  readonly middle: number;
  readonly commonest: number;
}

/** A file to look at, and whose it is. */
export interface WatchedFile {
  readonly name: string;
  /** Undefined until it is there. */
  readonly path: () => Promise<string | undefined>;
}

const SAMPLE_MS = 500;
/** Looking must not cost what is to be measured: so many looks at a piece in a millisecond, on the whole. */
const LOOKS_PER_MS = 8;
const PAGE_BYTES = 4096;
const STAMP_BYTES = 8;
const clock = new SystemClock();

/**
 * Sees from outside which pieces are in which files: every page of the content begins with its own number
 * (bench/origin/content.ts), so a piece whose last page does is there, whoever wrote it.
 */
export class PieceWatch {
  readonly #files: readonly WatchedFile[];
  readonly #shape: { readonly length: number; readonly pieceLength: number };
  readonly #had: readonly Uint8Array[];
  readonly #curves = new Map<string, [number, number][]>();
  readonly #stopping = new AbortController();
  readonly #handles = new Map<string, number>();
  #watching: Promise<void> = Promise.resolve();
  readonly spread: Spread[] = [];

  constructor(
    files: readonly WatchedFile[],
    shape: { readonly length: number; readonly pieceLength: number },
  ) {
    this.#files = files;
    this.#shape = shape;
    const pieces = pieceCount(shape.length, shape.pieceLength);
    this.#had = files.map(() => new Uint8Array(pieces));
    for (const { name } of files) this.#curves.set(name, []);
  }

  /** Seconds since the start, and bytes of pieces that were there then. */
  curve(name: string): readonly (readonly [seconds: number, bytes: number])[] {
    return this.#curves.get(name) ?? [];
  }

  start(): void {
    this.#watching = this.#watch();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#watching;
    for (const handle of this.#handles.values()) closeSync(handle);
    this.#handles.clear();
  }

  async #watch(): Promise<void> {
    const startMs = clock.monotonic();
    const { signal } = this.#stopping;
    const looks = this.#had.reduce((sum, had) => sum + had.length, 0);
    const everyMs = Math.max(SAMPLE_MS, looks / LOOKS_PER_MS);
    for (let isLast = false; !isLast;) {
      // Once more when it is over, to see how it ended.
      isLast = signal.aborted;
      const seconds = (clock.monotonic() - startMs) / 1000;
      for (const [at, file] of this.#files.entries()) await this.#look(at, file, seconds);
      this.spread.push(this.#spreadAt(seconds));
      if (!isLast) await clock.sleep(everyMs, { signal }).catch(() => undefined);
    }
  }

  async #look(at: number, file: WatchedFile, seconds: number): Promise<void> {
    const handle = await this.#handleOf(file);
    const had = this.#had[at];
    if (handle === undefined || had === undefined) return;
    const stamp = Buffer.alloc(STAMP_BYTES);
    for (let piece = 0; piece < had.length; piece += 1) {
      if (had[piece] === 1) continue;
      const page = Math.floor((pieceRange(piece, this.#shape).end - STAMP_BYTES) / PAGE_BYTES);
      const read = readSync(handle, stamp, 0, STAMP_BYTES, page * PAGE_BYTES);
      if (read === STAMP_BYTES && stamp.readDoubleBE() === page) had[piece] = 1;
    }
    const bytes = had.reduce((sum, one) => sum + one, 0) * this.#shape.pieceLength;
    this.#curves.get(file.name)?.push([seconds, Math.min(bytes, this.#shape.length)]);
  }

  async #handleOf(file: WatchedFile): Promise<number | undefined> {
    const known = this.#handles.get(file.name);
    if (known !== undefined) return known;
    const path = await file.path();
    if (path === undefined) return undefined;
    try {
      const handle = openSync(path, 'r');
      this.#handles.set(file.name, handle);
      return handle;
    } catch {
      // Not there yet.
      return undefined;
    }
  }

  #spreadAt(seconds: number): Spread {
    const pieces = this.#had[0]?.length ?? 0;
    const copies = Array.from({ length: pieces }, (_item, piece) =>
      this.#had.reduce((sum, had) => sum + (had[piece] ?? 0), 0),
    ).toSorted((a, b) => a - b);
    const [rarest = 0] = copies;
    return {
      seconds,
      rarest,
      middle: copies[Math.floor(pieces / 2)] ?? 0,
      commonest: copies.at(-1) ?? 0,
    };
  }
}
