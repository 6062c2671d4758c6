import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { outputOf } from '../../bench/cluster/command.ts';
import type { Workplace } from '../../bench/cluster/workplace.ts';
import { seededBytes } from '../../bench/origin/content.ts';

/** Files of a repository by path, as an origin serves them, and what one of its packages puts on a machine. */
export interface DebianRepository {
  readonly files: Readonly<Record<string, Buffer>>;
  readonly packages: readonly string[];
  /** Path on the machine and content, of the first package. */
  readonly installed: { readonly path: string; readonly content: Buffer };
  /** Path of the first package in the repository. */
  readonly deb: string;
}

const VERSION = '1.0+compat1';

/** A flat repository of packages without scripts; the first one depends on the others. */
export async function makeDebianRepository(
  workplace: Workplace,
  options: { readonly packages: number; readonly bytes: number },
): Promise<DebianRepository> {
  const folder = await workplace.subfolder('debian');
  const names = Array.from({ length: options.packages }, (_item, at) => `odonata-compat-${at}`);
  const files: Record<string, Buffer> = {};
  let index = '';
  for (const [at, name] of names.entries()) {
    const root = join(folder, name);
    await mkdir(join(root, 'DEBIAN'), { recursive: true });
    await mkdir(join(root, 'opt', name), { recursive: true });
    const depends = at === 0 && names.length > 1 ? `Depends: ${names.slice(1).join(', ')}\n` : '';
    const control = `Package: ${name}\nVersion: ${VERSION}\nArchitecture: all\n${depends}Maintainer: compat <compat@localhost>\nDescription: one file\n`;
    await writeFile(join(root, 'DEBIAN', 'control'), control);
    await writeFile(join(root, 'opt', name, 'data'), seededBytes(900 + at, 0, options.bytes));
    const file = join(folder, `${name}.deb`);
    const argv = ['dpkg-deb', '-Znone', '--root-owner-group', '--build', root, file];
    await outputOf(argv, { guard: workplace.guard, env: workplace.env });
    const bytes = await readFile(file);
    const path = `pool/main/o/${name}_${VERSION}_all.deb`;
    files[`/${path}`] = bytes;
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    index += `${control}Filename: ${path}\nSize: ${bytes.length}\nSHA256: ${sha256}\n\n`;
  }
  files['/Packages'] = Buffer.from(index);
  const sum = createHash('sha256').update(index).digest('hex');
  const date = 'Thu, 01 Jan 2026 00:00:00 UTC';
  files['/Release'] = Buffer.from(
    `Origin: compat\nDate: ${date}\nArchitectures: amd64 arm64\nSHA256:\n ${sum} ${index.length} Packages\n`,
  );
  const content = seededBytes(900, 0, options.bytes);
  const deb = `/pool/main/o/odonata-compat-0_${VERSION}_all.deb`;
  return { files, packages: names, installed: { path: 'opt/odonata-compat-0/data', content }, deb };
}

/** An apt and a dpkg of their own below `folder`; answers with the words that begin an apt-get command line. */
export async function privateApt(
  folder: string,
  options: { readonly repository: string; readonly proxy: string },
): Promise<{ readonly argv: readonly string[]; readonly root: string; readonly config: string }> {
  const root = join(folder, 'root');
  const dpkg = join(root, 'var/lib/dpkg');
  for (const path of ['state/lists/partial', 'cache/archives/partial', 'parts', 'log']) {
    await mkdir(join(folder, path), { recursive: true });
  }
  for (const name of ['info', 'updates', 'triggers']) {
    await mkdir(join(dpkg, name), { recursive: true });
  }
  await writeFile(join(dpkg, 'status'), '');
  const sources = join(folder, 'sources.list');
  await writeFile(sources, `deb [trusted=yes] ${options.repository} ./\n`);
  const settings = {
    'Dir::State': join(folder, 'state'),
    'Dir::State::status': join(dpkg, 'status'),
    'Dir::Cache': join(folder, 'cache'),
    'Dir::Log': join(folder, 'log'),
    'Dir::Etc::sourcelist': sources,
    'Dir::Etc::sourceparts': '-',
    'Dir::Etc::preferencesparts': join(folder, 'parts'),
    'Dir::Etc::parts': join(folder, 'parts'),
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
    'Acquire::http::Proxy': `http://${options.proxy}`,
    'DPkg::Options::': `--root=${root}`,
  };
  const config = join(folder, 'apt.conf');
  const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";\n`);
  await writeFile(config, lines.join(''));
  return { argv: ['apt-get', '-q'], root, config };
}
