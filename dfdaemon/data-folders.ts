import { lstat, mkdir, statfs } from 'node:fs/promises';
import { CodedError, systemCode } from '../core/base/error.ts';
import { humanBytes } from '../core/base/units.ts';

/** `f_type` of the filesystems that live in memory: tmpfs and ramfs (statfs(2)). */
const MEMORY_FILESYSTEMS: ReadonlySet<number> = new Set([0x01021994, 0x858458f6]);

/** Makes a folder, readable by this user only; throws ERR_STORE_IO naming `flag`. */
export async function makeFolder(path: string, flag: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const why = systemCode(cause) ?? 'unknown';
    throw new CodedError('ERR_STORE_IO', `${flag}: cannot make ${path} (${why})`, { cause });
  }
}

/**
 * Makes the folder of `--storage memory`; throws ERR_STORE_IO when somebody else could write in it (its place is
 * open to every user of the machine). What an operator should know of it: that it is not in memory after all, or that
 * it has less room than content may take (a container often has 64 MiB of /dev/shm).
 */
export async function makeMemoryFolder(
  path: string,
  { uid, quotaBytes }: { readonly uid: number; readonly quotaBytes: number | undefined },
): Promise<readonly string[]> {
  await makeFolder(path, '--memory-dir');
  const facts = await lstat(path);
  const isOurs = facts.isDirectory() && facts.uid === uid && (facts.mode & 0o022) === 0;
  if (!isOurs) {
    throw new CodedError('ERR_STORE_IO', `--memory-dir: others can write in ${path}`, {
      detail: { directory: path },
    });
  }
  const { type, blocks, bsize } = await statfs(path);
  const notes: string[] = [];
  if (!MEMORY_FILESYSTEMS.has(type)) notes.push('it is not on a filesystem in memory');
  const roomBytes = blocks * bsize;
  if (quotaBytes !== undefined && roomBytes < quotaBytes) {
    const sizes = `${humanBytes(roomBytes)}, less than the quota of ${humanBytes(quotaBytes)}`;
    notes.push(`its filesystem has ${sizes}: larger content will not fit`);
  }
  return notes;
}
