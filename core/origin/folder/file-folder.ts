import { constants, lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, systemCode } from '../../base/error.ts';
import type { FolderLister, ListedChild } from './walk-folders.ts';

/** Folders of this machine, as the user who runs the program. Symbolic links are not followed, so there are no loops. */
export class FileFolder implements FolderLister {
  async *list(location: string, { signal }: { signal: AbortSignal }): AsyncGenerator<ListedChild> {
    let folder;
    try {
      folder = await opendir(location, { encoding: 'utf8' });
    } catch (error) {
      throw localFailure(location, error);
    }
    for await (const entry of folder) {
      signal.throwIfAborted();
      yield await childOf(join(location, entry.name), entry.name);
    }
  }
}

async function childOf(location: string, name: string): Promise<ListedChild> {
  // Names that are not UTF-8 come with replacement characters, and lead nowhere.
  const stats = await lstat(location, { bigint: true }).catch(() => undefined);
  if (stats === undefined) {
    return { name, kind: 'file', location, problem: 'a name that cannot be opened' };
  }
  if (stats.isDirectory()) return { name, kind: 'folder', location };
  if (!stats.isFile()) return { name, kind: 'other', location };
  const validators = { lastModified: String(stats.mtimeNs) };
  return { name, kind: 'file', location, length: Number(stats.size), validators };
}

/** What a failure to open `path` means to whoever asked for its content. */
export function localFailure(path: string, error: unknown): CodedError {
  const code = systemCode(error);
  if (error instanceof CodedError || code === undefined) return CodedError.from(error);
  return new CodedError('ERR_ORIGIN_REFUSED', `cannot read ${path}: ${code}`, {
    cause: error,
    detail: { systemCode: code },
  });
}

/** How files are opened whose content is asked for: a pipe would keep the reader waiting for ever. */
export const READ_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK;
