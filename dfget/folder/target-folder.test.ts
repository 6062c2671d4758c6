import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { TargetFolder } from './target-folder.ts';

function fresh(): string {
  return temporaryFolder('target');
}

test('TargetFolder makes the folders that a file needs, and tells what is there', async (t) => {
  const dir = fresh();
  const target = await TargetFolder.open(join(dir, 'new'));
  const place = await target.place('a/b/c');
  t.deepEqual(place, { path: join(dir, 'new', 'a', 'b', 'c'), found: undefined });
  t.true(existsSync(join(dir, 'new', 'a', 'b')));
  writeFileSync(place.path, 'xyz');
  t.is((await target.place('a/b/c')).found?.size, 3n);
});

test('TargetFolder leads nowhere through links that lie in it', async (t) => {
  const outside = fresh();
  const dir = fresh();
  writeFileSync(join(outside, 'file'), 'mine');
  symlinkSync(outside, join(dir, 'folder'));
  symlinkSync(join(outside, 'file'), join(dir, 'file'));
  symlinkSync(join(outside, 'none'), join(dir, 'dangling'));
  symlinkSync(join(outside, 'none'), join(dir, 'nowhere'));
  const target = await TargetFolder.open(dir);
  for (const path of ['folder/x', 'folder/sub/x', 'file', 'dangling', 'nowhere/x']) {
    await t.throwsAsync(target.place(path), { code: 'ERR_OUTPUT_UNWRITABLE' }, path);
  }
  t.deepEqual(readdirSync(outside), ['file']);
});

test('TargetFolder refuses what is in the way, and a folder it may not have', async (t) => {
  const dir = fresh();
  writeFileSync(join(dir, 'file'), 'x');
  mkdirSync(join(dir, 'folder'));
  const target = await TargetFolder.open(dir);
  for (const path of ['file/x', 'folder']) {
    await t.throwsAsync(target.place(path), { code: 'ERR_OUTPUT_UNWRITABLE' }, path);
  }
  for (const path of [join(dir, 'file'), join(dir, 'no', 'parent')]) {
    await t.throwsAsync(TargetFolder.open(path), { code: 'ERR_OUTPUT_UNWRITABLE' }, path);
  }
});

test('TargetFolder may itself be named by a link', async (t) => {
  const dir = fresh();
  const link = join(fresh(), 'link');
  symlinkSync(dir, link);
  t.is((await (await TargetFolder.open(link)).place('f')).path, join(link, 'f'));
});
