/**
 * Rows of the journal carry a sum of their own: level reads its blocks without checking them, and one wrong bit in a
 * row can say that a piece is had which is not. The key is part of the sum, so that no row is taken for another's.
 */
import { crc32 } from 'node:zlib';

const SUM_DIGITS = 8;

/** The row as it is journalled under `key`. */
export function withSum(key: string, json: string): string {
  return sumOf(key, json) + json;
}

/** The JSON of a journalled row; undefined when it is not what was written under `key`. Rows of format 1 have no sum. */
export function withoutSum(key: string, row: string): string | undefined {
  if (row.startsWith('{')) return row;
  const json = row.slice(SUM_DIGITS);
  return row.slice(0, SUM_DIGITS) === sumOf(key, json) ? json : undefined;
}

function sumOf(key: string, json: string): string {
  return crc32(json, crc32(key)).toString(16).padStart(SUM_DIGITS, '0');
}
