import { execFile } from 'node:child_process';
import { mkdir, rm, rmdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Why a test that mounts is skipped here, as the end of its title; undefined where it can run. */
export const cannotMount =
  process.platform === 'linux' && process.getuid?.() === 0 ? undefined : 'needs root on Linux';

/** A small filesystem in memory, mounted at `path` until disposed. */
export class Tmpfs implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async mount(
    path: string,
    options: { readonly mib: number; readonly readOnly?: boolean },
  ): Promise<Tmpfs> {
    await mkdir(path, { recursive: true });
    const { mib, readOnly = false } = options;
    const flags = `size=${mib}m,mode=700${readOnly ? ',ro' : ''}`;
    await run('mount', ['-t', 'tmpfs', '-o', flags, 'odonata-test', path]);
    return new Tmpfs(path);
  }

  /** Bytes that may still be written. */
  async free(): Promise<number> {
    const { bavail, bsize } = await statfs(this.path);
    return bavail * bsize;
  }

  /** Takes all that is free; dispose what is returned to give it back. */
  async fill(): Promise<AsyncDisposable> {
    const ballast = join(this.path, 'ballast');
    // At once, however fast somebody else writes: what is left after one try is taken by the next.
    for (let round = 0; (await this.free()) > 0 && round < 50; round += 1) {
      const name = `${ballast}-${round}`;
      await run('fallocate', ['-l', String(await this.free()), name]).catch(() => undefined);
    }
    return {
      [Symbol.asyncDispose]: async () => {
        for (let round = 0; round < 50; round += 1)
          await rm(`${ballast}-${round}`, { force: true });
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Lazy: a file that somebody still holds open must not keep the test's folder.
    await run('umount', ['-l', this.path]);
    await rmdir(this.path).catch(() => undefined);
  }
}
