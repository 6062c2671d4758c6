import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');

/** A package whose dfget prints where compiled code is kept, and a home that nobody else may write to. */
async function packageWithHome(): Promise<{ dfget: string; home: string } & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-launch-'));
  await cp(join(root, 'bin'), join(folder, 'bin'), { recursive: true });
  await mkdir(join(folder, 'dist', 'dfget'), { recursive: true });
  const program = `console.log(process.getBuiltinModule('node:module').getCompileCacheDir() ?? 'none');`;
  await writeFile(join(folder, 'dist', 'dfget', 'main.js'), program);
  const home = join(folder, 'home');
  await mkdir(home, { mode: 0o700 });
  return {
    dfget: join(folder, 'bin', 'dfget.cjs'),
    home,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

async function cacheOf({ dfget, home }: { dfget: string; home: string }): Promise<string> {
  const { PATH } = process.env;
  const { stdout } = await run(process.execPath, [dfget], { env: { PATH, HOME: home } });
  return stdout.trim();
}

test('dfget keeps compiled code in a folder that is its user’s alone', async (t) => {
  await using installed = await packageWithHome();
  const kept = join(installed.home, '.cache', 'odonata');
  t.true((await cacheOf(installed)).startsWith(kept));
  t.is((await stat(kept)).mode & 0o777, 0o700);
  t.true((await cacheOf(installed)).startsWith(kept), 'again, now that it is there');
});

for (const [name, parts] of [
  ['home', []],
  ['cache folder', ['.cache']],
  ['folder in the cache', ['.cache', 'odonata']],
] as const) {
  test(`dfget keeps and takes no compiled code where others can write its ${name}`, async (t) => {
    await using installed = await packageWithHome();
    await mkdir(join(installed.home, '.cache', 'odonata'), { recursive: true, mode: 0o700 });
    await chmod(join(installed.home, ...parts), 0o777);
    t.is(await cacheOf(installed), 'none');
  });
}

test('dfget starts without compiled code in another user’s home, and without a home', async (t) => {
  await using installed = await packageWithHome();
  // Somebody else's: root's for any user, that of nobody here for root.
  const others = process.getuid?.() === 0 ? await homeOfNobody(installed.home) : '/';
  t.is(await cacheOf({ ...installed, home: others }), 'none');
  t.is(await cacheOf({ ...installed, home: join(installed.home, 'gone') }), 'none');
});

async function homeOfNobody(home: string): Promise<string> {
  const { chown } = await import('node:fs/promises');
  await chown(home, 65_534, 65_534);
  const link = `${home}-link`;
  await symlink(home, link);
  return link;
}
