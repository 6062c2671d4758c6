import type { Stats } from 'node:fs';
import { constants, copyFile, link, lstat, open, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { systemCode } from '../base/error.ts';

const NAME_REPLACED = Object.assign(new Error('the temporary file was replaced by somebody else'), {
  code: 'ESTALE',
});

/**
 * An output in the making, under a temporary name. Everything is done to it by its descriptor: in a folder that others
 * may write in, the name may mean another file by now, or a link to one that only this user can write.
 */
export class PartFile implements AsyncDisposable {
  readonly path: string;
  #handle: FileHandle;
  /** As the umask wants it. */
  readonly #mode: number;
  /** The file that the name has to mean in the end. */
  #file: { readonly dev: number; readonly ino: number };

  private constructor(path: string, handle: FileHandle, stats: Stats) {
    this.path = path;
    this.#handle = handle;
    this.#mode = stats.mode & 0o777;
    this.#file = stats;
  }

  /** Makes it; fails where the name is taken, be it by a link. Errors of the system. */
  static async open(path: string): Promise<PartFile> {
    const handle = await open(path, 'wx', 0o666);
    return new PartFile(path, handle, await handle.stat());
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#handle.writeFile(bytes);
  }

  /** Shares the blocks of `source`, on filesystems that can (btrfs, XFS); false otherwise. */
  async reflink(source: FileHandle): Promise<boolean> {
    const [from, to] = [`/proc/self/fd/${source.fd}`, `/proc/self/fd/${this.#handle.fd}`];
    const isShared = await copyFile(from, to, constants.COPYFILE_FICLONE_FORCE).then(
      () => true,
      () => false,
    );
    // Tried or done, it has the mode of the source now.
    const { mode } = await this.#handle.stat();
    if ((mode & 0o777) !== this.#mode) await this.#handle.chmod(this.#mode);
    return isShared;
  }

  /** Becomes another name of `source`, which has these facts; false, and an empty file again, where that is not possible. */
  async hardLink(source: string, stats: Stats): Promise<boolean> {
    try {
      await this.remove();
      await link(source, this.path);
      this.#file = stats;
      await this.check();
      return true;
    } catch {
      // Another filesystem, too many links, or a policy of the kernel: the copy decides.
    }
    await this.remove();
    const handle = await open(this.path, 'wx', 0o666);
    await this.#handle.close();
    this.#handle = handle;
    this.#file = await handle.stat();
    return false;
  }

  /** Fails with ESTALE when the name no longer means this file. */
  async check(): Promise<void> {
    const { dev, ino } = await lstat(this.path);
    if (dev !== this.#file.dev || ino !== this.#file.ino) throw NAME_REPLACED;
  }

  /** Takes the name away, whatever it means; as `rm` with `force`, which loads a module for trees and looks twice. */
  async remove(): Promise<void> {
    try {
      await unlink(this.path);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
  }

  /** Closes it, and takes the temporary name away where it is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
    // Also after a success: renaming one hard link over another of the same file leaves both.
    await this.remove().catch(() => undefined);
  }
}
