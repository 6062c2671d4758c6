import { constants, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../../../core/base/error.ts';

/** Synced at a time: filesystems bring what waits together to the disk together. */
const TOGETHER = 16;

/**
 * Brings every file and folder below `folder`, and the folder itself, to the disk; links are not followed. Errors of the
 * system.
 */
export async function syncTree(folder: string, signal: AbortSignal): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile() || entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
  paths.push(folder);
  for (let at = 0; at < paths.length; at += TOGETHER) {
    signal.throwIfAborted();
    await Promise.all(paths.slice(at, at + TOGETHER).map(syncPath));
  }
}

async function syncPath(path: string): Promise<void> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    await file.sync();
  } catch (error) {
    // A file that its own user may not read cannot be synced by him.
    if (systemCode(error) !== 'EACCES') throw error;
  }
}
