import { createHash } from 'node:crypto';
import { CodedError } from '../base/error.ts';
import { readDataFile } from '../store/data-file.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { EarlyPiece } from './task-readers.ts';

/**
 * The bytes of a piece as they come in, not verified. When the piece is there what was given is compared with it, so that
 * nothing that follows is given after something wrong: returns how far it was given, or throws ERR_DIGEST_MISMATCH. Where
 * nothing can be given before, nothing is, and it returns the start of the piece. Throws what `wait` throws.
 */
export async function* readEarly(
  stored: StoredTask,
  parts: {
    readonly piece: number;
    readonly came: EarlyPiece;
    /** Resolves when it is so, or nothing more comes. */
    readonly wait: (isSo: () => boolean) => Promise<void>;
    readonly signal: AbortSignal;
  },
): AsyncGenerator<Uint8Array, number, undefined> {
  const { piece, came, wait, signal } = parts;
  const start = piece * stored.pieceLength;
  const end = start + stored.pieceLength;
  const hash = createHash('sha256');
  let at = start;
  const isThere = (): boolean => stored.pieces.has(piece);
  while (!isThere()) {
    for await (const { bytes } of readDataFile(
      stored.path,
      { start: at, end: start + came.bytes },
      { signal },
    )) {
      hash.update(bytes);
      at += bytes.length;
      yield bytes;
    }
    const isMore = (): boolean => isThere() || start + came.bytes > at;
    await wait(isMore);
    // Who reads on is told why nothing more comes.
    if (!isMore()) return at;
  }
  if (at === start) return at;
  for await (const chunk of stored.read({ start: at, end }, { signal })) hash.update(chunk);
  if (hash.digest('hex') === stored.digestOf(piece)) return at;
  const message = `what was given of piece ${piece} while it came in is wrong`;
  throw new CodedError('ERR_DIGEST_MISMATCH', message, { detail: { piece } });
}
