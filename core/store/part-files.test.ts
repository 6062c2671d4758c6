import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import test from 'ava';
import { ManualClock, SystemClock } from '../base/clock.ts';
import { newPartPath, removeLeftParts } from './part-files.ts';

const HOUR_MS = 3_600_000;

async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'odonata-parts-'));
  return { path, [Symbol.asyncDispose]: async () => rm(path, { recursive: true }) };
}

/** The number of a process that has ended. */
async function endedPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  return child.pid ?? 0;
}

test('removeLeftParts() removes what a process that is gone left, and nothing that may be in use', async (t) => {
  await using folder = await temporaryFolder();
  const own = basename(newPartPath(folder.path));
  const dead = own.replace(`-${process.pid}-`, `-${await endedPid()}-`);
  const others = ['.odonata-0123456789abcdef.part', '.odonata-x', 'file', `x${dead}`];
  const foreign = own.replace(/-\w+-/, '-elsewhere_1-');
  for (const name of [own, dead, foreign, ...others]) await writeFile(join(folder.path, name), 'x');
  await removeLeftParts(folder.path);
  t.deepEqual((await readdir(folder.path)).toSorted(), [own, foreign, ...others].toSorted());
});

test('removeLeftParts() removes what another machine has not touched for a day', async (t) => {
  await using folder = await temporaryFolder();
  const name = basename(newPartPath(folder.path)).replace(/-\w+-/, '-elsewhere_1-');
  await writeFile(join(folder.path, name), 'x');
  const clock = new ManualClock(new SystemClock().now());
  clock.advance(23 * HOUR_MS);
  await removeLeftParts(folder.path, clock);
  t.deepEqual(await readdir(folder.path), [name]);
  clock.advance(2 * HOUR_MS);
  await removeLeftParts(folder.path, clock);
  t.deepEqual(await readdir(folder.path), []);
});

test('removeLeftParts() is stopped neither by a folder in its way nor by one that is not there', async (t) => {
  await using folder = await temporaryFolder();
  const dead = newPartPath(folder.path).replace(`-${process.pid}-`, `-${await endedPid()}-`);
  await mkdir(dead);
  await removeLeftParts(folder.path);
  await removeLeftParts(join(folder.path, 'none'));
  t.deepEqual(await readdir(folder.path), [basename(dead)]);
});
