import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileDigest } from '../scenario/swarm-output.ts';
import { digestOf } from './image.ts';
import type { Image } from './image.ts';

/** What of an image that skopeo put into the plain folder `folder/image` is not as it should be; empty when all is right. */
export async function faultsOfFolder(folder: string, image: Image): Promise<string[]> {
  const faults: string[] = [];
  const manifest = await readFile(join(folder, 'image', 'manifest.json'));
  if (digestOf(manifest) !== image.digest) faults.push('manifest');
  for (const { digest, size } of [image.config, ...image.layers]) {
    const path = join(folder, 'image', digest.replace('sha256:', ''));
    const { size: got } = await stat(path).catch(() => ({ size: -1 }));
    const isRight = got === size && (await fileDigest(path)) === digest;
    if (!isRight) faults.push(`${digest}: ${got} of ${size} bytes, or another digest`);
  }
  return faults;
}
