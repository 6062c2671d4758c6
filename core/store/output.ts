/**
 * Putting finished content where a user wants it. The output appears under its name whole or not at all: it is made
 * under a temporary name in the same folder and renamed, and the temporary name is removed whatever happens.
 */
import type { Stats } from 'node:fs';
import {
  chmod,
  constants,
  copyFile,
  link,
  lstat,
  open,
  readlink,
  rename,
  stat,
  unlink,
} from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { abortable, abortReason } from '../base/clock.ts';
import { CodedError, systemCode } from '../base/error.ts';
import { freeBytes } from './capacity.ts';
import { newPartPath, removeLeftParts } from './part-files.ts';

/** How an output is put in place. */
export interface OutputOptions {
  /** False: an existing output, even one that appears meanwhile, is left alone and ERR_OUTPUT_EXISTS thrown. */
  readonly overwrite: boolean;
  readonly signal: AbortSignal;
}

/** How content is taken from the data folder. */
export interface ExportOptions extends OutputOptions {
  /** True allows the output to be another name of the data file; done only when that belongs to this user. */
  readonly allowHardLink: boolean;
  /** When given, a source that belongs to another user is refused with ERR_STORE_IO. */
  readonly sourceUid?: number | undefined;
}

/** How the bytes of an output came to be there. */
export type ExportMethod = 'reflink' | 'hardlink' | 'copy';

const COPY_BYTES = 1024 * 1024;
/** As many as Linux follows. */
const MAX_LINKS = 40;

/**
 * Makes `target` hold the content of `source`: by reflink, else by hard link where allowed, else by copy. With
 * `overwrite` a symbolic link stays, and the file it names is replaced. Devices, pipes and folders are refused.
 * ERR_OUTPUT_EXISTS, ERR_OUTPUT_UNWRITABLE, ERR_NO_SPACE, ERR_INTERRUPTED; ERR_STORE_IO when the source cannot be read.
 */
export async function exportFile(
  source: string,
  target: string,
  options: ExportOptions,
): Promise<ExportMethod> {
  throwIfAborted(options.signal);
  const name = await outputName(target, options);
  await using opened = await openSource(source, options.sourceUid);
  return await place(name, options, async (temporary) => {
    const mode = await makeTemporary(temporary, name.asked);
    if (await reflink(opened.handle, temporary, mode)) return 'reflink';
    if (options.allowHardLink && (await hardLink(source, temporary, opened.stats))) {
      return 'hardlink';
    }
    await copy(opened, { temporary, output: name.asked }, options.signal);
    return 'copy';
  });
}

/**
 * Writes a stream to `target` by the same rules as `exportFile` and answers with its length in bytes.
 * Errors of the source pass through unchanged.
 */
export async function writeStreamTo(
  target: string,
  source: AsyncIterable<Uint8Array>,
  options: OutputOptions,
): Promise<number> {
  throwIfAborted(options.signal);
  const name = await outputName(target, options);
  return place(name, options, async (temporary) => {
    await using file = await onOutput(name.asked, () => open(temporary, 'wx', 0o666));
    let bytes = 0;
    for await (const chunk of untilAborted(source, options.signal)) {
      await onOutput(name.asked, () => file.writeFile(chunk));
      bytes += chunk.length;
    }
    return bytes;
  });
}

/** Makes the file under a temporary name, gives it its own, and leaves nothing else behind. */
async function place<T>(
  name: OutputName,
  options: OutputOptions,
  make: (temporary: string) => Promise<T>,
): Promise<T> {
  const folder = dirname(name.path);
  // First, for the room that it may take.
  await removeLeftParts(folder);
  const temporary = newPartPath(folder);
  try {
    const made = await make(temporary);
    throwIfAborted(options.signal);
    await onOutput(name.asked, async () =>
      options.overwrite ? rename(temporary, name.path) : renameToNew(temporary, name),
    );
    return made;
  } finally {
    // Also after a success: renaming one hard link over another of the same file leaves both.
    await remove(temporary).catch(() => undefined);
  }
}

/** A rename that refuses an existing name, which POSIX has only as link and unlink. */
async function renameToNew(temporary: string, name: OutputName): Promise<void> {
  try {
    await link(temporary, name.path);
    return;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') throw existsError(name.asked, error);
  }
  // No hard links here (FAT, some network filesystems): take the name with an empty file of our own first.
  try {
    await using _placeholder = await open(name.path, 'wx');
  } catch (error) {
    throw systemCode(error) === 'EEXIST' ? existsError(name.asked, error) : error;
  }
  await rename(temporary, name.path);
}

interface OutputName {
  /** As the user gave it; named in errors. */
  readonly asked: string;
  /** With links followed. */
  readonly path: string;
}

async function outputName(target: string, options: OutputOptions): Promise<OutputName> {
  const asked = resolve(target);
  return onOutput(asked, async () => {
    const found = await statOrUndefined(() => lstat(asked));
    if (found === undefined) return { asked, path: asked };
    if (!options.overwrite) throw existsError(asked);
    // By way of the kernel, which may forbid following a stranger's link in a folder like /tmp.
    const pointed = await statOrUndefined(() => stat(asked));
    if (pointed !== undefined && !pointed.isFile()) throw notAFile(asked);
    return { asked, path: found.isSymbolicLink() ? await followLinks(asked) : asked };
  });
}

async function followLinks(start: string): Promise<string> {
  let path = start;
  for (let links = 0; links < MAX_LINKS; links += 1) {
    const found = await statOrUndefined(() => lstat(path));
    if (found?.isSymbolicLink() !== true) return path;
    path = resolve(dirname(path), await readlink(path));
  }
  throw unwritable(start, 'ELOOP');
}

interface Source {
  readonly path: string;
  readonly handle: FileHandle;
  readonly stats: Stats;
}

async function openSource(
  path: string,
  sourceUid: number | undefined,
): Promise<Source & AsyncDisposable> {
  try {
    const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    const stats = await handle.stat();
    const dispose = async (): Promise<void> => handle.close();
    const source = { path, handle, stats, [Symbol.asyncDispose]: dispose };
    if (stats.isFile() && (sourceUid === undefined || stats.uid === sourceUid)) return source;
    await handle.close();
  } catch (cause) {
    throw sourceError(path, cause);
  }
  throw sourceError(path, undefined);
}

/** An empty file as the umask wants it; answers with that mode, which later steps would lose. */
async function makeTemporary(temporary: string, output: string): Promise<number> {
  return onOutput(output, async () => {
    await using file = await open(temporary, 'wx', 0o666);
    return (await file.stat()).mode & 0o777;
  });
}

/** Shares the blocks, on filesystems that can (btrfs, XFS); false otherwise. */
async function reflink(source: FileHandle, temporary: string, mode: number): Promise<boolean> {
  try {
    // By descriptor: the path may name another file by now.
    await copyFile(`/proc/self/fd/${source.fd}`, temporary, constants.COPYFILE_FICLONE_FORCE);
    await chmod(temporary, mode);
    return true;
  } catch {
    return false;
  }
}

/** Makes the temporary name another name of the source; false when that is not allowed or not possible. */
async function hardLink(path: string, temporary: string, stats: Stats): Promise<boolean> {
  if (stats.uid !== process.geteuid?.()) return false;
  try {
    await remove(temporary);
    await link(path, temporary);
    const linked = await lstat(temporary);
    if (linked.ino === stats.ino && linked.dev === stats.dev) return true;
  } catch {
    // Another filesystem, too many links, or a policy of the kernel: the copy decides.
  }
  await remove(temporary);
  return false;
}

async function copy(
  source: Source,
  to: { readonly temporary: string; readonly output: string },
  signal: AbortSignal,
): Promise<void> {
  const { handle, stats } = source;
  const free = await freeBytes(dirname(to.temporary));
  if (free < stats.size) throw noSpace(to.output, { needBytes: stats.size, freeBytes: free });
  await using file = await onOutput(to.output, () => open(to.temporary, 'w', 0o666));
  const buffer = Buffer.allocUnsafeSlow(Math.min(COPY_BYTES, Math.max(stats.size, 1)));
  for (let position = 0; position < stats.size;) {
    throwIfAborted(signal);
    const { bytesRead } = await readSource(source.path, () =>
      handle.read(buffer, 0, buffer.length, position),
    );
    if (bytesRead === 0) throw sourceError(source.path, undefined);
    await onOutput(to.output, () => file.writeFile(buffer.subarray(0, bytesRead)));
    position += bytesRead;
  }
}

async function readSource<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw sourceError(path, cause);
  }
}

/** The chunks of `source`; an abort ends the wait for the next one even if the source does not hear it. */
async function* untilAborted(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const chunks = source[Symbol.asyncIterator]();
  let isEnded = false;
  try {
    for (;;) {
      throwIfAborted(signal);
      const next = await nextChunk(chunks, signal);
      if (next.done === true) break;
      yield next.value;
    }
    isEnded = true;
  } finally {
    // Not awaited: a generator that waits for something would end only after that.
    if (!isEnded) chunks.return?.().catch(() => undefined);
  }
}

async function nextChunk(
  chunks: AsyncIterator<Uint8Array>,
  signal: AbortSignal,
): Promise<IteratorResult<Uint8Array>> {
  try {
    return await abortable(chunks.next(), signal);
  } catch (error) {
    throwIfAborted(signal);
    throw error;
  }
}

/** As `rm` with `force`, which loads a module for trees and looks at the file twice. */
async function remove(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

async function statOrUndefined(read: () => Promise<Stats>): Promise<Stats | undefined> {
  try {
    return await read();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw CodedError.from(abortReason(signal));
}

async function onOutput<T>(output: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = systemCode(error);
    if (error instanceof CodedError || code === undefined) throw error;
    if (code === 'ENOSPC' || code === 'EDQUOT') throw noSpace(output, { systemCode: code }, error);
    throw unwritable(output, code, error);
  }
}

function existsError(output: string, cause?: unknown): CodedError {
  return new CodedError('ERR_OUTPUT_EXISTS', `${output} exists already`, {
    cause,
    detail: { output },
  });
}

function notAFile(output: string): CodedError {
  return new CodedError('ERR_OUTPUT_UNWRITABLE', `${output} is not a regular file`, {
    detail: { output, systemCode: 'EEXIST' },
  });
}

function unwritable(output: string, code: string, cause?: unknown): CodedError {
  return new CodedError('ERR_OUTPUT_UNWRITABLE', `cannot write ${output}: ${code}`, {
    cause,
    detail: { output, systemCode: code },
  });
}

function noSpace(
  output: string,
  facts: Readonly<Record<string, string | number>>,
  cause?: unknown,
): CodedError {
  return new CodedError('ERR_NO_SPACE', `no room for ${output}`, {
    cause,
    detail: { output, ...facts },
  });
}

function sourceError(path: string, cause: unknown): CodedError {
  return new CodedError('ERR_STORE_IO', 'the content cannot be read from the data folder', {
    cause,
    detail: { path, systemCode: systemCode(cause) ?? 'unknown' },
  });
}
