import { dataFileFacts, findWrongPieces } from './data-file.ts';
import type { ExpectedPiece, FileFacts } from './data-file.ts';

/** A task as far as hashing its pieces needs to know it. */
export interface VerifiableTask {
  readonly path: string;
  readonly pieceLength: number;
  readonly length: number | undefined;
  digestOf(piece: number): string | undefined;
}

/** What hashing found. */
export interface Verdict {
  /** Pieces that are wrong, or that nobody can prove right; ascending. */
  readonly wrong: readonly number[];
  /** The file as it was before hashing, so that an edit meanwhile shows later; undefined: it is gone. */
  readonly facts: FileFacts | undefined;
  /** False when the file is not as long as the content. */
  readonly isWhole: boolean;
}

/** Hashes pieces of a task's data file against their digests; changes nothing. */
export async function verifyPieces(
  task: VerifiableTask,
  pieces: Iterable<number>,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<Verdict> {
  const { path, pieceLength, length } = task;
  const facts = await dataFileFacts(path);
  const expected: ExpectedPiece[] = [];
  const wrong: number[] = [];
  for (const index of pieces) {
    const digest = facts === undefined ? undefined : task.digestOf(index);
    if (digest === undefined) {
      wrong.push(index);
      continue;
    }
    const start = index * pieceLength;
    const end = Math.min(start + pieceLength, length ?? Infinity);
    expected.push({ index, start, end, digest, mayBeShort: length === undefined });
  }
  if (expected.length > 0) wrong.push(...(await findWrongPieces(path, expected, options)));
  const isWhole = length === undefined ? facts !== undefined : facts?.size === length;
  return { wrong: wrong.toSorted((a, b) => a - b), facts, isWhole };
}
