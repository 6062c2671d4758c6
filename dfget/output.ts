import type { Stats } from 'node:fs';
import { access, constants, lstat, open, realpath, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CodedError, systemCode } from '../core/base/error.ts';
import type * as storeOutput from '../core/store/output.ts';
import type { DownloadEvent, Downloader } from '../core/swarm/download-events.ts';
import type { OutputChoice } from './plan.ts';

/** A checked output: `device` is anything that is written in place, such as /dev/null or a pipe. */
export type OutputTarget =
  | { readonly kind: 'stdout' }
  | { readonly kind: 'device'; readonly path: string }
  | { readonly kind: 'file'; readonly path: string; readonly overwrite: boolean };

/** A finished download. */
export type DoneEvent = Extract<DownloadEvent, { type: 'done' }>;

/** What delivering takes besides the target. */
export interface DeliverTools {
  readonly downloader: Downloader;
  readonly stdout: Writable;
  readonly signal: AbortSignal;
  /** The uid of whoever owns the store that `done.path` points into. */
  readonly storeUid: number;
  /** This process's own uid. */
  readonly uid: number;
}

/** Checks the output before anything is fetched; throws ERR_OUTPUT_EXISTS or ERR_OUTPUT_UNWRITABLE. */
export async function checkOutput(choice: OutputChoice): Promise<OutputTarget> {
  if (choice.kind === 'stdout') return choice;
  const { path, overwrite } = choice;
  const found = await statOf(path);
  if (found?.isDirectory() === true || path.endsWith('/')) {
    throw unwritable(path, 'it is a folder; name a file');
  }
  if (found !== undefined && !found.isFile()) {
    await checkWritable(path, path);
    return { kind: 'device', path };
  }
  if (!overwrite && (found !== undefined || (await isDanglingLink(path)))) {
    throw new CodedError('ERR_OUTPUT_EXISTS', `${path} exists already`, {
      detail: { output: path },
    });
  }
  // A link stays a link and what it names is replaced, so it is that folder which counts.
  await checkWritable(dirname(found === undefined ? path : await realpath(path)), path);
  return { kind: 'file', path, overwrite };
}

/** Puts the content where it belongs; a file appears whole or not at all. */
export async function deliver(
  done: DoneEvent,
  target: OutputTarget,
  tools: DeliverTools,
): Promise<void> {
  const { exportFile, writeStreamTo } = await loadStoreOutput();
  const { signal } = tools;
  const readable = await readableStoreFile(done, tools);
  if (target.kind !== 'file') {
    await pour(contentOf(done, readable, tools), target, tools);
    return;
  }
  const { path, overwrite } = target;
  if (readable === undefined) {
    await writeStreamTo(path, contentOf(done, undefined, tools), { overwrite, signal });
    return;
  }
  const allowHardLink = readable.uid === tools.uid;
  const sourceUid = tools.storeUid;
  await exportFile(readable.path, path, { overwrite, allowHardLink, sourceUid, signal });
}

/** Loads what makes files, early if the caller likes: it is needed only at the end of a download. */
export function loadStoreOutput(): Promise<typeof storeOutput> {
  return import('../core/store/output.ts');
}

/** A file of the store that this user can read. */
interface StoreFile {
  readonly path: string;
  readonly uid: number;
}

// The path is a word of the daemon's. It is used only when the file is what the daemon may read itself: else a
// daemon of a plain user could have root copy a file of root's.
async function readableStoreFile(
  done: DoneEvent,
  tools: DeliverTools,
): Promise<StoreFile | undefined> {
  const { path } = done;
  if (path === undefined) return undefined;
  try {
    await using file = await open(
      path,
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
    const { uid, size, ...kind } = await statsOf(file);
    const isUsable = kind.isFile && size === done.length && uid === tools.storeUid;
    return isUsable ? { path, uid } : undefined;
  } catch {
    return undefined;
  }
}

async function statsOf(file: FileHandle): Promise<{ uid: number; size: number; isFile: boolean }> {
  const stats = await file.stat();
  return { uid: stats.uid, size: stats.size, isFile: stats.isFile() };
}

async function* contentOf(
  done: DoneEvent,
  readable: StoreFile | undefined,
  tools: DeliverTools,
): AsyncGenerator<Uint8Array> {
  const { signal } = tools;
  let written = 0;
  for await (const chunk of chunksOf(done, readable, tools)) {
    signal.throwIfAborted();
    written += chunk.length;
    yield chunk;
  }
  if (written !== done.length) {
    throw new CodedError('ERR_PROTOCOL', `${written} bytes came instead of ${done.length}`);
  }
}

async function* chunksOf(
  done: DoneEvent,
  readable: StoreFile | undefined,
  tools: DeliverTools,
): AsyncGenerator<Uint8Array> {
  if (done.content !== undefined) {
    yield Buffer.from(done.content, 'base64');
    return;
  }
  if (readable === undefined) {
    yield* tools.downloader.content(done, { signal: tools.signal });
    return;
  }
  await using file = await open(readable.path);
  const buffer = Buffer.allocUnsafe(256 * 1024);
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
    if (bytesRead === 0) return;
    // A copy: the reader may hold it while the buffer is filled anew.
    yield Buffer.from(buffer.subarray(0, bytesRead));
  }
}

async function pour(
  content: AsyncIterable<Uint8Array>,
  target: { kind: 'stdout' } | { kind: 'device'; path: string },
  tools: DeliverTools,
): Promise<void> {
  const { signal } = tools;
  const where = target.kind === 'stdout' ? 'standard output' : target.path;
  try {
    if (target.kind === 'stdout') {
      await pipeline(content, tools.stdout, { signal, end: false });
      return;
    }
    await using device = await open(target.path, 'w');
    await device.writeFile(content, { signal });
  } catch (error) {
    if (error instanceof CodedError || signal.aborted) throw error;
    const code = systemCode(error);
    if (code === undefined) throw error;
    if (code === 'ENOSPC')
      throw new CodedError('ERR_NO_SPACE', `${where} is full`, { cause: error });
    const why = code === 'EPIPE' ? 'its reader went away' : code;
    throw unwritable(where, why, error);
  }
}

async function statOf(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT') return undefined;
    throw unwritable(path, code ?? 'unknown', error);
  }
}

async function isDanglingLink(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

async function checkWritable(checked: string, output: string): Promise<void> {
  try {
    await access(checked, constants.W_OK);
  } catch (error) {
    const code = systemCode(error) ?? 'unknown';
    const why = code === 'ENOENT' ? `folder ${checked} does not exist` : `${checked}: ${code}`;
    throw unwritable(output, why, error);
  }
}

function unwritable(path: string, why: string, cause?: unknown): CodedError {
  return new CodedError('ERR_OUTPUT_UNWRITABLE', `cannot write ${path}: ${why}`, {
    cause,
    detail: { output: path },
  });
}
