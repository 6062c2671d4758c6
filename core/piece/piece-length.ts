const KIB = 1024;
const MIN_PIECE_LENGTH = 256 * KIB;
const MAX_PIECE_LENGTH = 16 * 1024 * KIB;
/** Used when the origin does not say how long the content is. */
const UNKNOWN_PIECE_LENGTH = 4 * 1024 * KIB;
/** Most pieces of content up to this length, where each has its price, and of longer content, where the last ones count. */
const MANY_FROM = 1024 * 1024 * KIB;
const MAX_PIECES = 1_000;
const MAX_PIECES_OF_LONG = 2_000;

/** Content up to this many bytes travels inside control replies. */
export const TINY_BYTES = 128 * KIB;

/**
 * The piece length, in bytes, of content of `length` bytes (undefined: unknown until the end).
 * Version 2 of the rule: the next power of two of length / 1000, above 1 GiB of length / 2000 and no less than 2 MiB,
 * within 256 KiB … 16 MiB.
 */
export function pieceLengthFor(length: number | undefined): number {
  if (length === undefined) return UNKNOWN_PIECE_LENGTH;
  if (length <= MANY_FROM) return powerOfTwo(length / MAX_PIECES);
  // Never shorter than those of shorter content.
  return Math.max(powerOfTwo(MANY_FROM / MAX_PIECES), powerOfTwo(length / MAX_PIECES_OF_LONG));
}

function powerOfTwo(least: number): number {
  let pieceLength = MIN_PIECE_LENGTH;
  while (pieceLength < least && pieceLength < MAX_PIECE_LENGTH) pieceLength *= 2;
  return pieceLength;
}

/** How many pieces `length` bytes make; empty content has none. */
export function pieceCount(length: number, pieceLength: number): number {
  return Math.ceil(length / pieceLength);
}

/** The bytes of piece `index` as a half-open range `[start, end)` of the content. */
export function pieceRange(
  index: number,
  shape: { readonly length: number; readonly pieceLength: number },
): { start: number; end: number } {
  const start = index * shape.pieceLength;
  if (index < 0 || start >= shape.length) {
    throw new RangeError(`piece ${index} of ${pieceCount(shape.length, shape.pieceLength)}`);
  }
  return { start, end: Math.min(start + shape.pieceLength, shape.length) };
}
