import test from 'ava';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { syncTree } from './sync-tree.ts';

test('syncTree() takes what packages may hold: links to nowhere, files that nobody may read, many', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-sync-'));
  t.teardown(async () => rm(folder, { recursive: true, force: true }));
  await mkdir(join(folder, 'a', 'b'), { recursive: true });
  for (let number = 0; number < 40; number += 1) {
    await writeFile(join(folder, 'a', 'b', `${number}`), 'x');
  }
  await chmod(join(folder, 'a', 'b', '0'), 0o000);
  await symlink('nowhere', join(folder, 'a', 'link'));
  await symlink('..', join(folder, 'a', 'up'));
  const { signal } = new AbortController();
  await t.notThrowsAsync(syncTree(folder, signal));
  await t.throwsAsync(syncTree(join(folder, 'missing'), signal), { code: 'ENOENT' });
  await t.throwsAsync(syncTree(folder, AbortSignal.abort()), { name: 'AbortError' });
});
