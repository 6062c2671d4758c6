/**
 * Putting finished content where a user wants it. The output appears under its name whole or not at all: it is made
 * under a temporary name in the same folder and renamed, and the temporary name is removed whatever happens.
 */
import type { Stats } from 'node:fs';
import { constants, link, open, rename } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { abortable, abortReason } from '../base/clock.ts';
import { CodedError, systemCode } from '../base/error.ts';
import { freeBytes } from './capacity.ts';
import { existsError, noSpace, onOutput, sourceError } from './output-error.ts';
import { outputName } from './output-name.ts';
import type { OutputName } from './output-name.ts';
import { PartFile } from './part-file.ts';
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
  return await place(name, options, async (part) => {
    const method = await onOutput(name.asked, () => share(part, opened, options));
    if (method !== undefined) return method;
    await copy(opened, { part, output: name.asked }, options.signal);
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
  return place(name, options, async (part) => {
    let bytes = 0;
    for await (const chunk of untilAborted(source, options.signal)) {
      await onOutput(name.asked, () => part.write(chunk));
      bytes += chunk.length;
    }
    return bytes;
  });
}

/** Makes the file under a temporary name, gives it its own, and leaves nothing else behind. */
async function place<T>(
  name: OutputName,
  options: OutputOptions,
  make: (part: PartFile) => Promise<T>,
): Promise<T> {
  const folder = dirname(name.path);
  // First, for the room that it may take.
  await removeLeftParts(folder);
  await using part = await onOutput(name.asked, () => PartFile.open(newPartPath(folder)));
  const made = await make(part);
  throwIfAborted(options.signal);
  await onOutput(name.asked, async () => {
    // Whoever may write in the folder could still put something under the name, but then under the output's as well.
    await part.check();
    if (options.overwrite) await rename(part.path, name.path);
    else await renameToNew(part.path, name);
  });
  return made;
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

/** Has the output share the blocks of the source, or be another name of it; undefined when neither is possible. */
async function share(
  part: PartFile,
  { path, handle, stats }: Source,
  options: ExportOptions,
): Promise<ExportMethod | undefined> {
  if (await part.reflink(handle)) return 'reflink';
  const isLinkable = options.allowHardLink && stats.uid === process.geteuid?.();
  return isLinkable && (await part.hardLink(path, stats)) ? 'hardlink' : undefined;
}

async function copy(
  source: Source,
  to: { readonly part: PartFile; readonly output: string },
  signal: AbortSignal,
): Promise<void> {
  const { handle, stats } = source;
  const free = await freeBytes(dirname(to.part.path));
  if (free < stats.size) throw noSpace(to.output, { needBytes: stats.size, freeBytes: free });
  const buffer = Buffer.allocUnsafeSlow(Math.min(COPY_BYTES, Math.max(stats.size, 1)));
  for (let position = 0; position < stats.size;) {
    throwIfAborted(signal);
    const { bytesRead } = await readSource(source.path, () =>
      handle.read(buffer, 0, buffer.length, position),
    );
    if (bytesRead === 0) throw sourceError(source.path, undefined);
    await onOutput(to.output, () => to.part.write(buffer.subarray(0, bytesRead)));
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

function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw CodedError.from(abortReason(signal));
}
