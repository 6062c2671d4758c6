import type { BigIntStats } from 'node:fs';
import { lstat, mkdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { CodedError, systemCode } from '../../core/base/error.ts';

/** Where one file goes. */
export interface TargetPlace {
  readonly path: string;
  /** Of what is there now. */
  readonly found: BigIntStats | undefined;
}

/**
 * The folder that files are put into. No path below it leads through a symbolic link: a link that lies there, from
 * whoever, cannot send a file elsewhere. Who changes the folder at the same moment is not guarded against.
 */
export class TargetFolder {
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  /** Makes the folder where there is none; throws ERR_OUTPUT_UNWRITABLE. */
  static async open(path: string): Promise<TargetFolder> {
    const root = resolve(path);
    await madeFolder(root);
    // That of the user's own choice may be a link.
    const found = await statOrFail(root);
    if (!found.isDirectory()) throw unwritable(root, 'it is no folder');
    return new TargetFolder(root);
  }

  /** Where the file with this checked path goes, its folders made. Throws ERR_OUTPUT_UNWRITABLE. */
  async place(path: string): Promise<TargetPlace> {
    const names = path.split('/');
    const name = names.pop() ?? '';
    let folder = this.root;
    for (const step of names) {
      folder = join(folder, step);
      await madeFolder(folder);
      if (!(await lstat(folder)).isDirectory()) {
        throw unwritable(folder, 'it is a link or a file, and nothing is written through it');
      }
    }
    const target = join(folder, name);
    const found = await statsOf(target);
    if (found !== undefined && !found.isFile()) {
      throw unwritable(target, 'what is there is no regular file');
    }
    return { path: target, found };
  }
}

/** Of the path itself, not of what it may lead to; undefined where nothing is. */
export async function statsOf(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT') return undefined;
    throw unwritable(path, code ?? 'unknown', error);
  }
}

async function statOrFail(path: string): Promise<{ isDirectory(): boolean }> {
  try {
    return await stat(path);
  } catch (error) {
    throw unwritable(path, systemCode(error) ?? 'unknown', error);
  }
}

async function madeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EEXIST') return;
    throw unwritable(path, code ?? 'unknown', error);
  }
}

function unwritable(path: string, why: string, cause?: unknown): CodedError {
  return new CodedError('ERR_OUTPUT_UNWRITABLE', `cannot write ${path}: ${why}`, {
    cause,
    detail: { output: path },
  });
}
