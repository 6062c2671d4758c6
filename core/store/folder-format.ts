/** The `FORMAT` file of a data folder: which version of this program may touch what is in it. */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { CodedError, systemCode } from '../base/error.ts';

/** 2: rows of the journal carry a sum. Folders of format 1 are read, and become 2. */
const FORMAT = 2;
const KNOWN: ReadonlySet<string> = new Set(['1', String(FORMAT)]);

/**
 * Throws ERR_STORE_NEWER, having touched nothing, when the folder has a format that this version does not know.
 * True when the file is damaged: its sum tells that nobody wrote it so.
 */
export async function refuseNewer(directory: string): Promise<boolean> {
  const text = (await readFormat(directory)).trim();
  // Empty: the machine died while it was written.
  if (text === '') return false;
  const [, format, sum] = /^(\d{1,9})(?: ([0-9a-f]{8}))?$/.exec(text) ?? [];
  if (format === undefined || (sum !== undefined && sum !== sumOf(format))) return true;
  if (KNOWN.has(format)) return false;
  throw new CodedError('ERR_STORE_NEWER', 'the data folder was written by another version', {
    detail: { directory, format, known: FORMAT },
  });
}

/** States the format of this version. */
export async function writeFormat(directory: string): Promise<void> {
  const path = join(directory, 'FORMAT');
  const text = `${FORMAT} ${sumOf(String(FORMAT))}\n`;
  try {
    if ((await readFormat(directory)) === text) return;
    await writeFile(`${path}.tmp`, text);
    // A folder in its place would keep the new one out.
    await rename(`${path}.tmp`, path).catch(async () => {
      await rm(path, { recursive: true, force: true });
      await rename(`${path}.tmp`, path);
    });
  } catch (cause) {
    throw folderError(directory, cause);
  }
}

/** ERR_STORE_IO about a folder of the store. */
export function folderError(directory: string, cause: unknown): CodedError {
  return new CodedError('ERR_STORE_IO', 'the data folder cannot be used', {
    cause,
    detail: { directory, systemCode: systemCode(cause) ?? 'unknown' },
  });
}

async function readFormat(directory: string): Promise<string> {
  try {
    return await readFile(join(directory, 'FORMAT'), 'latin1');
  } catch (cause) {
    const code = systemCode(cause);
    if (code === 'ENOENT') return '';
    if (code === 'EISDIR') return 'a folder';
    throw folderError(directory, cause);
  }
}

function sumOf(text: string): string {
  return crc32(`odonata store ${text}`).toString(16).padStart(8, '0');
}
