import { createHash, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { CodedError } from '../base/error.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { TransferPool } from './transfer-pool.ts';

/** The digest of bytes in memory, as `sha256:HEX` unless another is expected; throws ERR_DIGEST_MISMATCH. */
export function checkBytes(
  bytes: Uint8Array,
  expected: string | undefined,
  known: string | undefined,
): string {
  if (expected === undefined) return known ?? digestOf(bytes, 'sha256');
  const actual = digestOf(bytes, expected.slice(0, expected.indexOf(':')).toLowerCase());
  compare(expected, actual);
  return actual;
}

/**
 * The digest of complete stored content: what the cell signed, or what the caller expects, computed off
 * the main thread. A mismatch discards the content and throws ERR_DIGEST_MISMATCH.
 */
export async function checkStored(
  parts: {
    readonly pool: TransferPool;
    readonly stored: StoredTask;
    readonly discard: () => Promise<void>;
  },
  expected: string | undefined,
  options: { readonly signal: AbortSignal },
): Promise<string | undefined> {
  const { pool, stored, discard } = parts;
  if (expected === undefined) return stored.wholeDigest;
  if (expected.toLowerCase() === stored.wholeDigest) return stored.wholeDigest;
  const algorithm = expected.slice(0, expected.indexOf(':')).toLowerCase();
  const actual = await pool.digest(stored.path, algorithm, options);
  try {
    compare(expected, actual);
  } catch (error) {
    await discard();
    throw error;
  }
  return actual;
}

function compare(expected: string, actual: string): void {
  const wanted = Buffer.from(expected.toLowerCase());
  const got = Buffer.from(actual);
  if (wanted.length === got.length && timingSafeEqual(wanted, got)) return;
  throw new CodedError('ERR_DIGEST_MISMATCH', `the content is ${actual}, not ${expected}`, {
    detail: { expected, actual },
  });
}

function digestOf(bytes: Uint8Array, algorithm: string): string {
  if (algorithm === 'crc32') return `crc32:${crc32(bytes).toString(16).padStart(8, '0')}`;
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}
