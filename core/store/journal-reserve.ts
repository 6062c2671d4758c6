/** Room that is kept for opening a journal on a full disk: opening writes, and so does making room afterwards. */
import { randomBytes } from 'node:crypto';
import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freeBytes } from './capacity.ts';

/** Of no file that level makes; it leaves others alone. */
const NAME = 'reserve';
const RESERVE_BYTES = 4 * 1024 * 1024;
/** What must be free beside it: nobody is well served by a disk that is full of reserves. */
const BESIDE_BYTES = 2 * RESERVE_BYTES;

/** Gives the reserve up if the disk of the folder has less than `roomBytes`. */
export async function releaseReserve(directory: string, roomBytes: number): Promise<void> {
  if ((await freeBytes(directory)) < roomBytes) await rm(join(directory, NAME), { force: true });
}

/** Makes the reserve where it is missing and there is room for it. Failing that there is none: throws nothing. */
export async function keepReserve(directory: string): Promise<void> {
  const path = join(directory, NAME);
  const fresh = `${path}.new`;
  try {
    const facts = await stat(path).catch(() => undefined);
    if (facts?.size === RESERVE_BYTES) return;
    if ((await freeBytes(directory)) < RESERVE_BYTES + BESIDE_BYTES) return;
    // Of zeros some filesystems would keep nothing.
    await writeFile(fresh, randomBytes(RESERVE_BYTES), { mode: 0o600 });
    await rename(fresh, path);
  } catch {
    await rm(fresh, { force: true }).catch(() => undefined);
  }
}
