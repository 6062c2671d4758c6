/** The data file of a task: sparse, each piece at its offset. Workers write it; this file makes, mends and checks it. */
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { constants, lstatSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { copyFile, lstat, mkdir, open, rename, rm, truncate } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { abortReason } from '../base/clock.ts';
import { CodedError, systemCode } from '../base/error.ts';
import type { SealedFile } from './task-row.ts';

/** Facts of a data file that tell whether it was touched. */
export interface FileFacts {
  readonly size: number;
  readonly mtimeMs: number;
  readonly inode: number;
  /** Names the file has; more than one when an output is a hard link to it. */
  readonly links: number;
  /** What the disk holds of it. */
  readonly diskBytes: number;
}

/** Bytes `[start, end)` of a file and the sha256 they should have, in hex. */
export interface ExpectedPiece {
  readonly index: number;
  readonly start: number;
  readonly end: number;
  readonly digest: string;
  /** True when the file may end inside it: the last piece of content of unknown length. */
  readonly mayBeShort: boolean;
}

/** Outputs may be hard links to data files, so these are as readable as outputs; the folder above is not. */
const DATA_MODE = 0o644;
const HASH_BUFFER_BYTES = 1024 * 1024;
const READ_BUFFER_BYTES = 256 * 1024;

/** Makes an empty sparse file of `length` bytes; ERR_NO_SPACE or ERR_STORE_IO. */
export async function createDataFile(path: string, length: number): Promise<void> {
  await onDisk(path, async () => {
    await using file = await openNew(path);
    await file.chmod(DATA_MODE);
    await file.truncate(length);
  });
}

/** Thousands may be made at once when a folder is opened, so what is usual costs one call. */
async function openNew(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx', DATA_MODE);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') await makeFolder(dirname(path));
    // Also a folder, which only damage can have put there.
    else if (code === 'EEXIST') await rm(path, { recursive: true, force: true });
    else throw error;
  }
  return open(path, 'wx', DATA_MODE);
}

export async function removeDataFile(path: string): Promise<void> {
  await onDisk(path, () => rm(path, { recursive: true, force: true }));
}

/** Makes a folder for its owner only, in the place of whatever is there and is none. */
export async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 }).catch(async (error: unknown) => {
    const code = systemCode(error);
    if (code !== 'EEXIST' && code !== 'ENOTDIR') throw error;
    await rm(path, { force: true });
    await mkdir(path, { mode: 0o700 });
  });
}

/** Size, mtime and links; undefined when there is no such regular file. */
export async function dataFileFacts(path: string): Promise<FileFacts | undefined> {
  try {
    return factsOf(await lstat(path));
  } catch (error) {
    return absent(path, error);
  }
}

/** As `dataFileFacts`, at once: for checks between two steps that nothing may come between. */
export function dataFileFactsNow(path: string): FileFacts | undefined {
  try {
    return factsOf(lstatSync(path));
  } catch (error) {
    return absent(path, error);
  }
}

/** What a row remembers of a file. */
export function sealOf({ size, mtimeMs, inode }: FileFacts): SealedFile {
  return { size, mtimeMs, inode };
}

/** True when the file is what it was. */
export function isSameFile(facts: FileFacts | undefined, was: SealedFile): boolean {
  if (facts?.size !== was.size || facts.mtimeMs !== was.mtimeMs) return false;
  return was.inode === undefined || facts.inode === was.inode;
}

/**
 * Makes the file fit for writing again: of the right length when that is known, and not shared with an output,
 * for the user's copy must not change under him. False when it is gone or there is no room to unshare it:
 * then the bytes are lost and `createDataFile` makes a new one.
 */
export async function mendDataFile(path: string, length: number | undefined): Promise<boolean> {
  const facts = await dataFileFacts(path);
  if (facts === undefined) return false;
  if (facts.links > 1 && !(await detach(path))) return false;
  if (length !== undefined && facts.size !== length) {
    await onDisk(path, () => truncate(path, length));
  }
  return true;
}

/** Forces the bytes to the platter. */
export async function syncDataFile(path: string): Promise<void> {
  await onDisk(path, async () => {
    await using file = await open(path, 'r');
    await file.datasync();
  });
}

/** The indexes of pieces whose bytes do not have their digest, ascending; one buffer of 1 MiB. */
export async function findWrongPieces(
  path: string,
  pieces: Iterable<ExpectedPiece>,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<number[]> {
  return onDisk(path, async () => {
    await using file = await open(path, 'r');
    const buffer = Buffer.allocUnsafeSlow(HASH_BUFFER_BYTES);
    const wrong: number[] = [];
    for (const piece of pieces) {
      throwIfAborted(options.signal);
      if ((await digestOfRange(file, piece, buffer)) !== piece.digest) wrong.push(piece.index);
    }
    return wrong;
  });
}

/** Bytes `[start, end)` in chunks of at most 256 KiB, each its own; ERR_STORE_IO when the file ends before. */
export async function* readDataFile(
  path: string,
  range: { readonly start: number; readonly end: number },
  options: { signal?: AbortSignal | undefined } = {},
): AsyncGenerator<{ readonly start: number; readonly bytes: Uint8Array }> {
  await using file = await onDisk(path, () => open(path, 'r'));
  for (let start = range.start; start < range.end;) {
    throwIfAborted(options.signal);
    const bytes = Buffer.allocUnsafeSlow(Math.min(READ_BUFFER_BYTES, range.end - start));
    const { bytesRead } = await onDisk(path, () => file.read(bytes, 0, bytes.length, start));
    if (bytesRead === 0) {
      throw new CodedError('ERR_STORE_IO', 'the data file is too short', { detail: { path } });
    }
    yield { start, bytes: bytes.subarray(0, bytesRead) };
    start += bytesRead;
  }
}

/** Puts a copy of its own in the place of a file that has other names too; false when there is no room for it. */
async function detach(path: string): Promise<boolean> {
  const copy = `${path}.tmp`;
  try {
    await copyFile(path, copy, constants.COPYFILE_FICLONE);
    await rename(copy, path);
    return true;
  } catch (error) {
    await rm(copy, { force: true });
    const code = systemCode(error);
    if (code === 'ENOSPC' || code === 'EDQUOT') return false;
    throw diskError(path, error);
  }
}

async function digestOfRange(
  file: FileHandle,
  piece: ExpectedPiece,
  buffer: Buffer,
): Promise<string | undefined> {
  const hash = createHash('sha256');
  for (let position = piece.start; position < piece.end;) {
    const wanted = Math.min(buffer.length, piece.end - position);
    const { bytesRead } = await file.read(buffer, 0, wanted, position);
    if (bytesRead === 0) {
      if (piece.mayBeShort && position > piece.start) break;
      return undefined;
    }
    hash.update(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
  return hash.digest('hex');
}

function factsOf(stats: Stats): FileFacts | undefined {
  if (!stats.isFile()) return undefined;
  const { size, mtimeMs, ino, nlink, blocks } = stats;
  return { size, mtimeMs, inode: ino, links: nlink, diskBytes: blocks * 512 };
}

function absent(path: string, error: unknown): undefined {
  const code = systemCode(error);
  if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
  throw diskError(path, error);
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw CodedError.from(abortReason(signal));
}

async function onDisk<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof CodedError ? error : diskError(path, error);
  }
}

function diskError(path: string, cause: unknown): CodedError {
  const code = systemCode(cause) ?? 'unknown';
  const isFull = code === 'ENOSPC' || code === 'EDQUOT';
  return new CodedError(
    isFull ? 'ERR_NO_SPACE' : 'ERR_STORE_IO',
    isFull ? 'the disk is full' : 'reading or writing a data file failed',
    { cause, detail: { path, systemCode: code } },
  );
}
