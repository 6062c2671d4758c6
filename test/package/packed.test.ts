import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { startOrigin } from '../../bench/origin/fault-origin.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');

test('the packed package holds four programs that run as built JavaScript', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-pack-'));
  t.teardown(async () => rm(folder, { recursive: true, force: true }));
  // What `npm pack` does, but with the build in a folder of its own.
  await run('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: root });
  const { stdout: names } = await run('ls', [folder]);
  await run('tar', ['-xzf', join(folder, names.trim()), '-C', folder]);
  const installed = join(folder, 'package');
  // Installing it fetches its dependencies; those of the checkout are the same.
  await symlink(join(root, 'node_modules'), join(installed, 'node_modules'));
  const packed = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as {
    version: string;
    bin: Record<string, string>;
  };
  for (const [name, file] of Object.entries(packed.bin)) {
    const { stdout } = await run(process.execPath, [join(installed, file), '--version']);
    t.is(stdout.trim().split(' ').at(-1), packed.version, name);
    const help = await run(process.execPath, [join(installed, file), '--help']);
    t.regex(help.stdout, new RegExp(`Usage: ${name}`));
  }

  await using origin = await startOrigin({
    routes: { '/one': { content: { seed: 1, length: 1 } } },
  });
  const output = join(folder, 'one');
  const home = join(folder, 'home');
  await mkdir(home);
  const dfget = join(installed, packed.bin['dfget'] ?? '');
  const flags = ['--no-daemon', '--data-dir', join(home, 'data'), '--json'];
  const { stdout } = await run(process.execPath, [
    dfget,
    origin.url('/one'),
    '-O',
    output,
    ...flags,
  ]);
  const last = JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}') as { type: string };
  t.is(last.type, 'done');
  t.is((await readFile(output)).length, 1);
});
