import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

/** `sha256:HEX` of a file. */
export async function fileDigest(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash);
  return `sha256:${hash.digest('hex')}`;
}

/** The file that a dfdaemon keeps a task's pieces in; undefined until it is there. */
export async function storedFile(folder: string, task: string): Promise<string | undefined> {
  if (task === '') return undefined;
  const tasks = join(folder, 'data', 'store', 'tasks', task.slice(0, 3));
  const names = await readdir(tasks).catch(() => []);
  const name = names.find((each) => each.startsWith(task));
  return name === undefined ? undefined : join(tasks, name);
}
