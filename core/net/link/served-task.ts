/**
 * One version of a task as a link sends it to others. All calls are synchronous, and cheap but for `read`; a
 * `CodedError` that one throws is the answer to the child, any other error closes the link.
 */
export interface ServedTask {
  readonly pieceLength: number;
  /** Bytes of one piece. */
  lengthOf(piece: number): number;
  has(piece: number): boolean;
  /** Which pieces are had, lowest index in the highest bit of the first byte. */
  haveMap(): Uint8Array;
  /** At a seed: pieces that this child is to take before others, and that need not be in the have-map. */
  offers?(): readonly number[];
  /** Undefined while the length of the content is unknown. */
  pieceCount(): number | undefined;
  /** Fills `target` from `offset` of the piece and returns the bytes read; throws a `CodedError` to refuse the piece. */
  read(piece: number, offset: number, target: Uint8Array): number;
  /** Of the content, as its origin said; where this thread knows. */
  mediaType?(): string | undefined;
  /** Signed manifest batches that can be passed on. */
  manifest(): readonly string[];
}

/** Finds what `child` may see of a task; undefined when it is not served here. */
export type FindTask = (task: string, version: string, child: string) => ServedTask | undefined;
