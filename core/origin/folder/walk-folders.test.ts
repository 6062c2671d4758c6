import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { temporaryFolder } from '../../../test/support/temporary-folder.ts';
import { FileFolder } from './file-folder.ts';
import { defaultFolderLimits } from './folder-entry.ts';
import type { FolderLimits } from './folder-entry.ts';
import { walkFolders } from './walk-folders.ts';
import type { FolderLister, ListedChild } from './walk-folders.ts';

const { signal } = new AbortController();

async function walk(
  lister: FolderLister,
  top: string,
  limits: Partial<FolderLimits> = {},
): Promise<string[]> {
  const told: string[] = [];
  const all = { ...defaultFolderLimits, ...limits };
  for await (const entry of walkFolders(lister, top, { limits: all, signal })) {
    const why = entry.kind === 'refused' ? `: ${entry.problem}` : '';
    told.push(`${entry.kind} ${entry.path}${why}`);
  }
  return told;
}

/** Every folder holds these. */
function same(...children: Omit<ListedChild, 'location'>[]): FolderLister {
  return {
    async *list(location) {
      for (const child of children) yield { ...child, location: `${location}${child.name}/` };
    },
  };
}

test('walkFolders() refuses names that are no names, one by one', async (t) => {
  const names = ['ok', '..', '.', '', 'a/b', 'a\0b', 'a\nb', 'x'.repeat(256), 'é'.repeat(128)];
  const lister = same(...names.map((name) => ({ name, kind: 'file' as const })));
  const told = await walk(lister, '/');
  t.is(told[0], 'file ok');
  t.true(told.slice(1).every((line) => line.startsWith('refused ')));
  t.is(told.length, names.length);
});

test('walkFolders() ends where a folder holds itself', async (t) => {
  const loop = same({ name: 'f', kind: 'file' }, { name: 'loop', kind: 'folder' });
  await t.throwsAsync(walk(loop, '/'), { code: 'ERR_LISTING', message: /deeper than 32/ });
  const told = await walk(loop, '/', { maxDepth: 2 });
  t.deepEqual(told, ['file f', 'file loop/f', 'left-out loop/loop/']);
});

test('walkFolders() ends at its bounds, and before it has read a million entries', async (t) => {
  let listed = 0;
  const endless: FolderLister = {
    async *list() {
      for (;;) yield { name: `f${(listed += 1)}`, kind: 'file', location: 'x' };
    },
  };
  await t.throwsAsync(walk(endless, '/', { maxEntries: 1_000 }), { code: 'ERR_LISTING' });
  t.is(listed, 1_001);
  const wide = same(...['a', 'b', 'c'].map((name) => ({ name, kind: 'folder' as const })));
  const limits = { maxFolders: 100 };
  await t.throwsAsync(walk(wide, '/', limits), { message: /more than 100 folders/ });
});

test('FileFolder lists real folders, and follows no link', async (t) => {
  const top = temporaryFolder('walk');
  mkdirSync(join(top, 'a', 'b'), { recursive: true });
  writeFileSync(join(top, 'a', 'b', 'file'), 'x');
  writeFileSync(join(top, 'top'), 'x');
  symlinkSync('..', join(top, 'a', 'up'));
  symlinkSync('top', join(top, 'link'));
  writeFileSync(join(top, 'line\nbreak'), 'x');
  t.deepEqual((await walk(new FileFolder(), top)).toSorted(), [
    'file a/b/file',
    'file top',
    'left-out a/up',
    'left-out link',
    'refused line\nbreak: a control character in the name',
  ]);
  await t.throwsAsync(walk(new FileFolder(), join(top, 'none')), { code: 'ERR_ORIGIN_REFUSED' });
});
