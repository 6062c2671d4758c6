import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { LRUCache } from 'lru-cache';
import { CodedError, systemCode } from '../../base/error.ts';
import { Bitfield } from '../../piece/bitfield.ts';
import { pieceCount } from '../../piece/piece-length.ts';
import type { TransferTask } from '../transfer-messages.ts';

/** Data files kept open at a time, per worker. */
const MAX_OPEN_FILES = 256;

/** Data files of the tasks this worker knows: positioned reads and writes, synchronous on purpose (§1: in the worker, so that buffers can be reused at once). */
export class TaskFiles {
  readonly #tasks = new Map<string, TransferTask>();
  /** Of those that came from an origin through this worker. */
  readonly #mediaTypes = new Map<string, string>();
  readonly #files = new LRUCache<string, number>({
    max: MAX_OPEN_FILES,
    dispose: (descriptor) => closeSync(descriptor),
  });

  put(task: TransferTask): void {
    this.#tasks.set(task.key, task);
    // The store may have put another file in its place.
    this.#files.delete(task.key);
  }

  drop(key: string): void {
    this.#tasks.delete(key);
    this.#mediaTypes.delete(key);
    this.#files.delete(key);
  }

  /** What the origin says that the content is. */
  setMediaType(key: string, mediaType: string): void {
    if (this.#tasks.has(key)) this.#mediaTypes.set(key, mediaType);
  }

  mediaType(key: string): string | undefined {
    return this.#mediaTypes.get(key);
  }

  find(key: string): TransferTask | undefined {
    return this.#tasks.get(key);
  }

  get(key: string): TransferTask {
    const task = this.#tasks.get(key);
    if (task === undefined) throw new CodedError('ERR_NOT_FOUND', `task ${key} is not open here`);
    return task;
  }

  /** Fills `target` from `position`; throws ERR_STORE_IO when the file is shorter. */
  read(key: string, position: number, target: Uint8Array): number {
    try {
      const descriptor = this.#descriptor(key);
      let filled = 0;
      while (filled < target.length) {
        const got = readSync(descriptor, target, filled, target.length - filled, position + filled);
        if (got === 0) throw new CodedError('ERR_STORE_IO', 'the data file is shorter than it was');
        filled += got;
      }
      return filled;
    } catch (error) {
      throw storeError(error, 'read');
    }
  }

  write(key: string, position: number, chunk: Uint8Array): void {
    try {
      const descriptor = this.#descriptor(key);
      let written = 0;
      while (written < chunk.length) {
        written += writeSync(
          descriptor,
          chunk,
          written,
          chunk.length - written,
          position + written,
        );
      }
    } catch (error) {
      throw storeError(error, 'write');
    }
  }

  /** sha256 of a piece as it lies here, hex. */
  pieceDigest(key: string, piece: number, length: number): string {
    const bytes = Buffer.allocUnsafe(length);
    this.read(key, piece * this.get(key).pieceLength, bytes);
    return createHash('sha256').update(bytes).digest('hex');
  }

  /** True when a finished file no longer has the size and mtime it was sealed with. */
  isAltered(task: TransferTask): boolean {
    if (task.sealed === undefined) return false;
    try {
      const { mtimeMs, size } = fstatSync(this.#descriptor(task.key));
      return mtimeMs !== task.sealed.mtimeMs || size !== task.sealed.size;
    } catch {
      return true;
    }
  }

  close(): void {
    this.#files.clear();
    this.#tasks.clear();
  }

  #descriptor(key: string): number {
    const open = this.#files.get(key);
    if (open !== undefined) return open;
    const descriptor = openSync(this.get(key).path, 'r+');
    this.#files.set(key, descriptor);
    return descriptor;
  }
}

/** Whether a piece is verified, read live from the shared bitfield. */
export function hasPiece(task: TransferTask, piece: number): boolean {
  if (piece < 0 || piece >= (countOf(task) ?? task.capacity)) return false;
  return ((task.pieces[piece >> 3] ?? 0) & (0x80 >> (piece & 7))) !== 0;
}

/** A copy of the pieces a worker may send. */
export function piecesOf(task: TransferTask, bytes: Uint8Array = task.pieces): Bitfield {
  return new Bitfield(countOf(task) ?? task.capacity, bytes);
}

/** Number of pieces, undefined while the length is unknown. */
export function countOf(task: TransferTask): number | undefined {
  return task.length === undefined ? undefined : pieceCount(task.length, task.pieceLength);
}

/** Bytes of one piece; the last one may be shorter. */
export function lengthOfPiece(task: TransferTask, piece: number): number {
  const start = piece * task.pieceLength;
  return task.length === undefined
    ? task.pieceLength
    : Math.min(task.pieceLength, task.length - start);
}

/**
 * Takes the bytes of one piece in order, hashes and writes them as they come, and judges at the end. What is verified
 * already is not written over: the same bytes again would be waste, and other bytes would be damage.
 */
export class PieceWriter {
  readonly #files: TaskFiles;
  readonly #task: TransferTask;
  readonly #piece: number;
  readonly #hash: Hash = createHash('sha256');
  #bytes = 0;

  constructor(files: TaskFiles, task: TransferTask, piece: number) {
    this.#files = files;
    this.#task = task;
    this.#piece = piece;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** `chunk` is only read during the call. */
  write(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    const { key, pieceLength } = this.#task;
    // Asked at each write: another source may have brought the piece meanwhile.
    if (!hasPiece(this.#files.get(key), this.#piece)) {
      this.#files.write(key, this.#piece * pieceLength + this.#bytes, chunk);
    }
    this.#bytes += chunk.length;
  }

  digest(): string {
    return this.#hash.digest('hex');
  }
}

function storeError(error: unknown, verb: string): CodedError {
  if (error instanceof CodedError) return error;
  const code = systemCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new CodedError('ERR_NO_SPACE', 'the disk of the data folder is full', { cause: error });
  }
  return new CodedError('ERR_STORE_IO', `cannot ${verb} the data file: ${code ?? 'unknown'}`, {
    cause: error,
  });
}
