/** Which file an output is to be: symbolic links followed, as far as they are not a stranger's. */
import type { Stats } from 'node:fs';
import { lstat, readlink, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { systemCode } from '../base/error.ts';
import { existsError, notAFile, onOutput, unwritable } from './output-error.ts';

/** Where an output goes. */
export interface OutputName {
  /** As the user gave it; named in errors. */
  readonly asked: string;
  /** With links followed. */
  readonly path: string;
}

/** As many as Linux follows. */
const MAX_LINKS = 40;
const WRITABLE_BY_OTHERS = 0o002;

/** The file that `target` means; ERR_OUTPUT_EXISTS without `overwrite`, ERR_OUTPUT_UNWRITABLE where it is no file. */
export async function outputName(
  target: string,
  options: { readonly overwrite: boolean },
): Promise<OutputName> {
  const asked = resolve(target);
  return onOutput(asked, async () => {
    const found = await statOrUndefined(() => lstat(asked));
    if (found === undefined) return { asked, path: asked };
    if (!options.overwrite) throw existsError(asked);
    // By way of the kernel, which may forbid following a stranger's link in a folder like /tmp.
    const pointed = await statOrUndefined(() => stat(asked));
    if (pointed !== undefined && !pointed.isFile()) throw notAFile(asked);
    return { asked, path: found.isSymbolicLink() ? await followLinks(asked) : asked };
  });
}

async function followLinks(start: string): Promise<string> {
  let path = start;
  for (let links = 0; links < MAX_LINKS; links += 1) {
    const found = await statOrUndefined(() => lstat(path));
    if (found?.isSymbolicLink() !== true) return path;
    if (await isStrangers(path, found)) throw unwritable(start, 'EACCES');
    path = resolve(dirname(path), await readlink(path));
  }
  throw unwritable(start, 'ELOOP');
}

/**
 * True for a link that another user put where everybody may: it would have this user overwrite a file of his own. The
 * rule of Linux (fs.protected_symlinks), which may be off, and which is for sticky folders only.
 */
async function isStrangers(path: string, link: Stats): Promise<boolean> {
  const folder = await stat(dirname(path));
  if ((folder.mode & WRITABLE_BY_OTHERS) === 0) return false;
  return link.uid !== process.geteuid?.() && link.uid !== folder.uid;
}

async function statOrUndefined(read: () => Promise<Stats>): Promise<Stats | undefined> {
  try {
    return await read();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
