/**
 * What is compressed at a time, raw bytes. Units lie at multiples of this from the start of their piece, the last one
 * of a piece may be shorter; so both sides know the raw length of each, and a receiver needs room for one.
 */
export const UNIT_BYTES = 262_144;

/** Raw bytes of the unit at `offset` of a piece of `length` bytes; undefined where no unit begins. */
export function unitLength(offset: number, length: number): number | undefined {
  if (offset % UNIT_BYTES !== 0 || offset >= length) return undefined;
  return Math.min(UNIT_BYTES, length - offset);
}

/** True when the compressed form saves enough to be worth the trouble of the reader: a tenth. */
export function savesEnough(compressed: number, raw: number): boolean {
  return compressed <= raw * 0.9;
}
