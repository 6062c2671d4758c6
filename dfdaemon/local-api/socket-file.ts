import { chmod, link, lstat, mkdir, mkdtemp, rm, rmdir, unlink } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { dirname, join } from 'node:path';
import { CodedError, systemCode } from '../../core/base/error.ts';

/** Which socket, and who may connect to it. */
export interface SocketFileOptions {
  readonly path: string;
  /** 0o600 or 0o660. */
  readonly mode: number;
  /** Binds and listens on the path it is given. */
  readonly listen: (path: string) => Promise<void>;
}

const STALE_LOCK_MS = 10_000;

/**
 * A Unix socket at its path. It is made under a private name, given its mode, and then linked to its place, so
 * that nobody can connect before the mode is right, and a socket that somebody answers on is never replaced.
 */
export class SocketFile implements AsyncDisposable {
  readonly path: string;
  readonly #inode: bigint;

  private constructor(path: string, inode: bigint) {
    this.path = path;
    this.#inode = inode;
  }

  /** Throws ERR_ADDRESS_IN_USE when a program answers there already, ERR_USAGE when the path cannot be used. */
  static async publish(options: SocketFileOptions): Promise<SocketFile> {
    const { path, mode, listen } = options;
    const folder = await makeFolder(path);
    try {
      const own = join(folder, 's');
      await listen(own);
      await chmod(own, mode);
      const inode = await inodeOf(own);
      await place(own, path);
      return new SocketFile(path, inode ?? 0n);
    } catch (error) {
      throw error instanceof CodedError ? error : unusable(path, error);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Removes the file, unless another program has put its own there. */
  async [Symbol.asyncDispose](): Promise<void> {
    if ((await inodeOf(this.path)) === this.#inode) await rm(this.path, { force: true });
  }
}

/** Throws ERR_ADDRESS_IN_USE when a program answers on the socket: before anything costly is begun. */
export async function refuseLiveSocket(path: string): Promise<void> {
  if (await isAnswered(path)) throw inUse(path);
}

async function makeFolder(path: string): Promise<string> {
  try {
    // The socket's own mode guards it; its folder lets others through to find it.
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    return await mkdtemp(join(dirname(path), '.o-'));
  } catch (error) {
    throw unusable(path, error);
  }
}

/** Gives the socket its name; one that nobody answers on makes way. */
async function place(own: string, path: string): Promise<void> {
  if (await linkNew(own, path)) return;
  // Two that find the same stale socket must not remove each other's new one.
  const lock = `${path}.lock`;
  await takeLock(lock, own);
  try {
    await removeStale(path);
    if (!(await linkNew(own, path))) throw inUse(path);
  } finally {
    await rmdir(lock);
  }
}

/** False when the name is taken. */
async function linkNew(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
}

async function takeLock(lock: string, own: string): Promise<void> {
  try {
    await mkdir(lock);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    // It is held for milliseconds; whoever left it this long ago died holding it.
    const [held, now] = [await lstat(lock), await lstat(own)];
    if (now.mtimeMs - held.mtimeMs < STALE_LOCK_MS) throw inUse(lock.slice(0, -'.lock'.length));
    await rmdir(lock);
    await mkdir(lock);
  }
}

async function removeStale(path: string): Promise<void> {
  const facts = await lstat(path);
  if (!facts.isSocket()) {
    throw new CodedError('ERR_USAGE', `--socket: ${path} exists and is no socket`);
  }
  await refuseLiveSocket(path);
  await unlink(path);
}

/** True unless connecting says for certain that nobody listens. */
async function isAnswered(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = createConnection({ path });
  socket.once('connect', () => resolve(true));
  socket.once('error', (error) => {
    resolve(!['ENOENT', 'ECONNREFUSED', 'ENOTSOCK'].includes(systemCode(error) ?? ''));
  });
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}

async function inodeOf(path: string): Promise<bigint | undefined> {
  try {
    return (await lstat(path, { bigint: true })).ino;
  } catch {
    return undefined;
  }
}

function inUse(path: string): CodedError {
  return new CodedError('ERR_ADDRESS_IN_USE', `--socket: a dfdaemon answers on ${path} already`, {
    detail: { socket: path },
  });
}

function unusable(path: string, cause: unknown): CodedError {
  const code = systemCode(cause) ?? 'unknown';
  return new CodedError('ERR_USAGE', `--socket: cannot make ${path} (${code})`, { cause });
}
