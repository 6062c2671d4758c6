import { constants, lstat, open, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname, relative } from 'node:path';
import { systemCode } from '../../../core/base/error.ts';
import { notAFile, onOutput, unwritable } from '../../../core/store/output-error.ts';
import { newPartPath, removeLeftParts } from '../../../core/store/part-files.ts';
import { findGroup, findUser } from '../local-user.ts';
import type { PutRequest } from './tool-requests.ts';

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants;

/** What `file.put` prints. */
export interface PutResult {
  readonly path: string;
  readonly digest: string;
  readonly bytes: number;
}

/**
 * Makes the content a file at its path, whole or not at all: it is made beside it, given mode and owner, brought to the
 * disk and renamed. Below `folder` no link is followed, and one at the path itself is replaced: whoever may write there
 * cannot have this user write elsewhere. ERR_OUTPUT_UNWRITABLE, ERR_NO_SPACE, ERR_FORBIDDEN for an unknown owner, and
 * errors of the content.
 */
export async function putFile(
  { path, digest, mode, owner }: PutRequest,
  content: AsyncIterable<Uint8Array>,
  options: { readonly folder: string; readonly signal: AbortSignal },
): Promise<PutResult> {
  const { signal } = options;
  const ids = owner === undefined ? undefined : await idsOf(owner);
  await using folder = await onOutput(path, async () => openBelow(options.folder, dirname(path)));
  // By its descriptor: the name of the folder may mean another by the time that the content is here.
  const here = `/proc/self/fd/${folder.fd}`;
  const target = `${here}/${basename(path)}`;
  await onOutput(path, async () => refuseOddFile(target, path));
  await removeLeftParts(here);
  const part = newPartPath(here);
  await using file = await onOutput(path, async () => open(part, 'wx', 0o600));
  try {
    let bytes = 0;
    for await (const chunk of content) {
      signal.throwIfAborted();
      await onOutput(path, async () => file.writeFile(chunk));
      bytes += chunk.length;
    }
    await onOutput(path, async () => {
      if (ids !== undefined) await file.chown(ids.uid, ids.gid);
      await file.chmod(mode);
      await file.sync();
      await rename(part, target);
      await folder.sync();
    });
    return { path, digest, bytes };
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

/** Opens a folder at or below `root`; every step below it must be a folder itself. */
async function openBelow(root: string, path: string): Promise<FileHandle> {
  let folder = await open(root, O_RDONLY | O_DIRECTORY);
  const steps = relative(root, path)
    .split('/')
    .filter((step) => step !== '');
  for (const step of steps) {
    await using parent = folder;
    folder = await open(`/proc/self/fd/${parent.fd}/${step}`, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  }
  return folder;
}

/** What is there must be a file, or a link, which makes way as it is. */
async function refuseOddFile(target: string, path: string): Promise<void> {
  try {
    const found = await lstat(target);
    if (found.isDirectory()) throw unwritable(path, 'EISDIR');
    if (!found.isFile() && !found.isSymbolicLink()) throw notAFile(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

async function idsOf({
  user,
  group,
}: NonNullable<PutRequest['owner']>): Promise<{ readonly uid: number; readonly gid: number }> {
  const { uid, gid } = await findUser(user);
  return { uid, gid: group === undefined ? gid : await findGroup(group) };
}
