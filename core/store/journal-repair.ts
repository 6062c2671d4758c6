/** What is done about a journal that level cannot open or read: of its folder, and by its own tool. */
import type { Level } from 'level';
import { constants } from 'node:fs';
import { access, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freeBytes } from './capacity.ts';

/** Level's repair puts what it could not use here, and never looks at it again. */
const LEFT_BY_REPAIR = 'lost';
const LOG_BYTES = 256 * 1024;

/** Removes what level would stumble over and never makes: folders, links. True when that was damage. */
export async function clearStrangers(directory: string): Promise<boolean> {
  let isDamaged = false;
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isFile()) continue;
    await rm(join(directory, entry.name), { recursive: true, force: true });
    isDamaged ||= entry.name !== LEFT_BY_REPAIR;
  }
  return isDamaged;
}

/** True when there are rows, and nothing that says where: level would make new ones in their place. */
export async function hasLostItsStart(directory: string): Promise<boolean> {
  const names = await readdir(directory);
  return !names.includes('CURRENT') && names.some((name) => /\.(ldb|sst|log)$/.test(name));
}

/** True when the database that was just opened left out rows that it could not read: it only tells its own log. */
export async function toldOfLosses(directory: string): Promise<boolean> {
  try {
    await using log = await open(join(directory, 'LOG'), 'r');
    const { buffer, bytesRead } = await log.read(Buffer.alloc(LOG_BYTES), 0, LOG_BYTES, 0);
    return buffer.toString('latin1', 0, bytesRead).includes(': dropping ');
  } catch {
    return false;
  }
}

/** False when it is the machine that keeps level from opening the folder: no room, no right, a dying disk. */
export async function isUsable(directory: string, roomBytes: number): Promise<boolean> {
  const probe = join(directory, 'probe');
  try {
    await access(directory, constants.R_OK | constants.W_OK | constants.X_OK);
    await writeFile(probe, Buffer.alloc(4096));
    await rename(probe, `${probe}.done`);
    for (const name of await readdir(directory)) await readFile(join(directory, name));
    return (await freeBytes(directory)) >= roomBytes;
  } catch {
    return false;
  } finally {
    await rm(probe, { force: true }).catch(() => undefined);
    await rm(`${probe}.done`, { force: true }).catch(() => undefined);
  }
}

/** Has level find in the folder whatever rows it can; what it says of it is no concern, the next opening tells. */
export async function repairFolder(directory: string, level: typeof Level): Promise<void> {
  // Not in the types of the universal package, which also runs in browsers.
  if ('repair' in level && typeof level.repair === 'function') {
    await Promise.resolve(level.repair(directory)).catch(() => undefined);
  }
  await clearStrangers(directory);
}
