import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { outputOf } from '../../bench/cluster/command.ts';
import type { Workplace } from '../../bench/cluster/workplace.ts';
import { seededBytes } from '../../bench/origin/content.ts';

/** One package as a static npm registry serves it. */
export interface NpmPackage {
  readonly name: string;
  /** Path of the tarball at the registry. */
  readonly tarballPath: string;
  readonly tarball: Buffer;
  /** What is installed as `data.bin`. */
  readonly data: Buffer;
  /** The document at `/NAME`, for a registry at this URL. */
  document(registry: string): Buffer;
}

/** Packs a package of one file. */
export async function makeNpmPackage(workplace: Workplace, bytes: number): Promise<NpmPackage> {
  const name = 'odonata-compat';
  const version = '1.0.0';
  const folder = await workplace.subfolder('npm-package');
  await mkdir(join(folder, 'package'));
  const data = seededBytes(800, 0, bytes);
  const facts = { name, version, description: 'one file', license: 'MIT' };
  await writeFile(join(folder, 'package', 'package.json'), JSON.stringify(facts));
  await writeFile(join(folder, 'package', 'data.bin'), data);
  const file = join(folder, 'package.tgz');
  const argv = ['tar', '-C', folder, '-czf', file, 'package'];
  await outputOf(argv, { guard: workplace.guard, env: workplace.env });
  const tarball = await readFile(file);
  const tarballPath = `/${name}/-/${name}-${version}.tgz`;
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
  const shasum = createHash('sha1').update(tarball).digest('hex');
  const document = (registry: string): Buffer => {
    const dist = { tarball: `${registry}${tarballPath}`, integrity, shasum };
    const versions = { [version]: { ...facts, dist } };
    return Buffer.from(JSON.stringify({ name, 'dist-tags': { latest: version }, versions }));
  };
  return { name, tarballPath, tarball, data, document };
}
