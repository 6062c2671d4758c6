import { CodedError } from '../base/error.ts';
import type { Bitfield } from '../piece/bitfield.ts';
import { readDataFile } from './data-file.ts';

/** A task as far as reading it needs to know. */
export interface ReadableTask {
  readonly taskId: string;
  readonly path: string;
  readonly pieceLength: number;
  readonly length: number | undefined;
  readonly pieces: Bitfield;
}

/** Verified bytes of `[start, end)` in chunks of at most 256 KiB; ERR_STORE_IO at a piece that is not there. */
export async function* readPieces(
  task: ReadableTask,
  range: { readonly start: number; readonly end: number },
  options: { signal?: AbortSignal | undefined } = {},
): AsyncGenerator<Uint8Array> {
  const { start, end } = range;
  if (!(start >= 0 && start <= end && end <= (task.length ?? Infinity))) {
    throw new RangeError(`bytes [${start}, ${end}) of ${task.length}`);
  }
  for await (const chunk of readDataFile(task.path, range, options)) {
    // After the read: a piece un-had while it was read must not be passed on.
    refuseMissing(task, chunk.start, chunk.start + chunk.bytes.length);
    yield chunk.bytes;
  }
}

function refuseMissing(task: ReadableTask, start: number, end: number): void {
  const last = Math.floor((end - 1) / task.pieceLength);
  for (let piece = Math.floor(start / task.pieceLength); piece <= last; piece += 1) {
    if (task.pieces.has(piece)) continue;
    throw new CodedError('ERR_STORE_IO', 'a piece is not in the store', {
      detail: { task: task.taskId, piece },
    });
  }
}
