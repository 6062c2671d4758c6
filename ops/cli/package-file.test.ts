import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { create, replace } from 'tar';
import { readPackageFile } from './package-file.ts';

const MANIFEST = 'name: web\nversion: 1.4.2\nstart: [bin/web]\n';

interface Packing {
  readonly manifest?: string;
  readonly how?: { readonly gzip?: true; readonly zstd?: true };
  readonly entries?: readonly string[];
}

async function pack(t: ExecutionContext, given: Packing = {}): Promise<string> {
  const { manifest = MANIFEST, how = {}, entries = ['package.yaml', 'bin'] } = given;
  const folder = await mkdtemp(join(tmpdir(), 'package-'));
  t.teardown(async () => rm(folder, { recursive: true, force: true }));
  await mkdir(join(folder, 'bin'));
  await writeFile(join(folder, 'package.yaml'), manifest);
  await writeFile(join(folder, 'bin', 'package.yaml'), 'of no account');
  await writeFile(join(folder, 'bin', 'web'), Buffer.alloc(100_000, 'x'));
  const file = join(folder, 'package.tar');
  await create({ cwd: folder, file, ...how }, [...entries]);
  return file;
}

for (const how of [{}, { gzip: true }, { zstd: true }] as const) {
  test(`readPackageFile() finds name and version in a tar ${JSON.stringify(how)}`, async (t) => {
    t.deepEqual(await readPackageFile(await pack(t, { how })), { name: 'web', version: '1.4.2' });
    const dotted = await pack(t, { how, entries: ['./bin', './package.yaml'] });
    t.deepEqual(await readPackageFile(dotted), { name: 'web', version: '1.4.2' });
  });
}

test('readPackageFile() refuses what is no package', async (t) => {
  const none = await pack(t, { entries: ['bin'] });
  await t.throwsAsync(readPackageFile(none), { code: 'ERR_USAGE', message: /has no package.yaml/ });
  const twice = await pack(t);
  await replace({ cwd: join(twice, '..'), file: twice }, ['package.yaml']);
  await t.throwsAsync(readPackageFile(twice), { code: 'ERR_USAGE', message: /more than one/ });
  const text = await pack(t);
  await writeFile(text, 'no tar at all'.repeat(1_000));
  await t.throwsAsync(readPackageFile(text), { code: 'ERR_USAGE', message: /no tar/ });
  await t.throwsAsync(readPackageFile(`${text}-none`), { code: 'ERR_USAGE', message: /ENOENT/ });
  const cut = await pack(t, { how: { gzip: true } });
  await truncate(cut, (await readFile(cut)).length - 100);
  await t.throwsAsync(readPackageFile(cut), { code: 'ERR_USAGE' });
  const long = await pack(t, { manifest: `# ${'x'.repeat(70_000)}\n${MANIFEST}` });
  await t.throwsAsync(readPackageFile(long), { message: /longer than/ });
});

test('readPackageFile() names what hosts would refuse of a manifest', async (t) => {
  const of = async (manifest: string): Promise<unknown> =>
    readPackageFile(await pack(t, { manifest }));
  await t.throwsAsync(of(`${MANIFEST}run: [x]\n`), { code: 'ERR_CONFIG', message: /run/ });
  await t.throwsAsync(of('name: Web\nversion: "1"\n'), { code: 'ERR_CONFIG', message: /name/ });
  await t.throwsAsync(of('name: web\nversion: none\n'), { code: 'ERR_CONFIG', message: /version/ });
  await t.throwsAsync(of(`${MANIFEST}install: [../x]\n`), { code: 'ERR_CONFIG' });
});
