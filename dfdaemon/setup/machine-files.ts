/**
 * Configuration files of a machine, or of an image below `--root`: read whole, written whole or not at all, mode and
 * owner kept. Links are followed, but never out of the root.
 */
import { randomBytes } from 'node:crypto';
import { lstat, mkdir, open, readFile, readdir, realpath, rename } from 'node:fs/promises';
import { rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join, sep } from 'node:path';
import { CodedError, systemCode } from '../../core/base/error.ts';

const MAX_BYTES = 1024 * 1024;

/** The files below one root; every path it is given is absolute as seen from there. */
export class MachineFiles {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** The text; undefined when there is no file. Throws ERR_CLIENT_CONFIG for what is no text of ours to change. */
  async read(path: string): Promise<string | undefined> {
    try {
      const real = await this.#real(path);
      const { size } = await regularFile(real, path);
      if (size > MAX_BYTES) throw refusal(`${path}: longer than ${MAX_BYTES} bytes`);
      return textOf(await readFile(real), path);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw explained(error, `cannot read ${path}`);
    }
  }

  /** Names of a folder, sorted; none when there is no such folder. */
  async list(folder: string): Promise<readonly string[]> {
    try {
      return (await readdir(await this.#real(folder))).toSorted();
    } catch (error) {
      if (isMissing(error)) return [];
      throw explained(error, `cannot read ${folder}`);
    }
  }

  async exists(path: string): Promise<boolean> {
    try {
      await lstat(join(this.root, path));
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw explained(error, `cannot look at ${path}`);
    }
  }

  /** The folders that writing `path` would make, outermost first. */
  async missingFolders(path: string): Promise<readonly string[]> {
    const folder = dirname(path);
    if (folder === path || (await this.exists(folder))) return [];
    return [...(await this.missingFolders(folder)), folder];
  }

  /** Replaces the file, or makes it with `mode`. Throws ERR_OUTPUT_UNWRITABLE. */
  async write(path: string, text: string, { mode }: { readonly mode: number }): Promise<void> {
    try {
      const real = await this.#real(path);
      await mkdir(dirname(real), { recursive: true, mode: 0o755 });
      await replaceFile(real, text, { ...(await ownership(real)), mode });
    } catch (error) {
      throw explained(error, `cannot write ${path}`);
    }
  }

  /** Makes a folder with `mode`, those around it with 0755. Throws ERR_OUTPUT_UNWRITABLE. */
  async makeFolder(folder: string, { mode }: { readonly mode: number }): Promise<void> {
    try {
      const real = await this.#real(folder);
      await mkdir(dirname(real), { recursive: true, mode: 0o755 });
      await mkdir(real, { mode });
    } catch (error) {
      throw explained(error, `cannot make ${folder}`);
    }
  }

  /** Removes a file that may be gone already. */
  async remove(path: string): Promise<void> {
    try {
      await rm(join(this.root, path), { force: true });
    } catch (error) {
      throw explained(error, `cannot remove ${path}`);
    }
  }

  /** Removes folders, given outermost first, as far as nothing is in them. */
  async removeEmpty(folders: readonly string[]): Promise<void> {
    for (const folder of folders.toReversed()) {
      try {
        await rmdir(join(this.root, folder));
      } catch (error) {
        // Somebody keeps something there, or has removed it: either way it is no longer ours.
        if (['ENOTEMPTY', 'EEXIST', 'ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return;
        throw explained(error, `cannot remove ${folder}`);
      }
    }
  }

  async #real(path: string): Promise<string> {
    const root = await realpath(this.root);
    const real = await realTarget(join(root, path), path);
    const inside = root === sep ? sep : `${root}${sep}`;
    if (real !== root && !real.startsWith(inside)) {
      throw refusal(`${path}: is a link that leads out of ${this.root}`);
    }
    return real;
  }
}

/** Where a path leads, though its last parts may not be there yet. */
async function realTarget(path: string, named: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (!isMissing(error)) throw error;
    if (await isLink(path)) throw refusal(`${named}: is a link to nothing`);
    return join(await realTarget(dirname(path), named), basename(path));
  }
}

async function isLink(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isSymbolicLink();
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

async function regularFile(real: string, path: string): Promise<{ readonly size: number }> {
  const facts = await stat(real);
  if (!facts.isFile()) throw refusal(`${path}: is not a file`);
  return facts;
}

/** Mode and owner that a replaced file keeps. */
async function ownership(
  real: string,
): Promise<{ keep?: { readonly mode: number; readonly uid: number; readonly gid: number } }> {
  try {
    const { mode, uid, gid } = await stat(real);
    return { keep: { mode: mode & 0o7777, uid, gid } };
  } catch (error) {
    if (isMissing(error)) return {};
    throw error;
  }
}

async function replaceFile(
  real: string,
  text: string,
  as: {
    readonly mode: number;
    readonly keep?: { readonly mode: number; readonly uid: number; readonly gid: number };
  },
): Promise<void> {
  const draft = join(dirname(real), `.${basename(real)}.${randomBytes(6).toString('hex')}`);
  try {
    {
      await using file = await open(draft, 'wx', 0o600);
      await file.writeFile(text);
      const { keep } = as;
      const facts = await file.stat();
      if (keep !== undefined && (keep.uid !== facts.uid || keep.gid !== facts.gid)) {
        await file.chown(keep.uid, keep.gid);
      }
      await file.chmod(keep?.mode ?? as.mode);
      await file.sync();
    }
    await rename(draft, real);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  await using folder = await open(dirname(real), 'r');
  await folder.sync();
}

function textOf(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new CodedError('ERR_CLIENT_CONFIG', `${path}: is not UTF-8 text`, { cause });
  }
}

function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '');
}

function explained(error: unknown, what: string): CodedError {
  if (error instanceof CodedError) return error;
  const why = systemCode(error) ?? 'unknown';
  return new CodedError('ERR_OUTPUT_UNWRITABLE', `${what} (${why})`, { cause: error });
}

function refusal(message: string): CodedError {
  return new CodedError('ERR_CLIENT_CONFIG', message);
}
