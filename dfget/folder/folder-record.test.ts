import { appendFileSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { FolderRecord, RECORD_NAME, listedVersion, stateOf } from './folder-record.ts';
import { statsOf } from './target-folder.ts';

async function fresh(): Promise<{
  dir: string;
  path: string;
  found: Awaited<ReturnType<typeof statsOf>>;
}> {
  const dir = temporaryFolder('record');
  const path = join(dir, 'f');
  writeFileSync(path, 'abc');
  return { dir, path, found: await statsOf(path) };
}

test('FolderRecord knows what an earlier run put there, until somebody touches it', async (t) => {
  const { dir, path, found } = await fresh();
  if (found === undefined) throw new TypeError('it is there');
  const entry = { path: 'f', source: 's', version: 'v', state: stateOf(found), listed: 'l' };
  {
    await using record = await FolderRecord.open(dir);
    await record.add({ ...entry, version: 'older' });
    await record.add(entry);
  }
  await using record = await FolderRecord.open(dir);
  t.deepEqual(record.intact('f', 's', found), entry);
  t.is(record.intact('f', 'another source', found), undefined);
  t.is(record.intact('g', 's', found), undefined);
  t.is(record.intact('f', 's', undefined), undefined);
  writeFileSync(path, 'abd');
  t.is(record.intact('f', 's', await statsOf(path)), undefined);
});

test('FolderRecord passes over what it cannot read, and does not grow for ever', async (t) => {
  const { dir, found } = await fresh();
  if (found === undefined) throw new TypeError('it is there');
  const entry = { path: 'f', source: 's', version: 'v', state: stateOf(found) };
  const file = join(dir, RECORD_NAME);
  writeFileSync(file, `not json\n{"path":1}\n${`${JSON.stringify(entry)}\n`.repeat(500)}{"path":`);
  {
    await using record = await FolderRecord.open(dir);
    t.deepEqual(record.intact('f', 's', found), entry);
    await record.add({ ...entry, path: 'g' });
    await record.add(entry);
  }
  t.is(readFileSync(file, 'utf8').trim().split('\n').length, 2);
  appendFileSync(file, '\0\0');
  await using again = await FolderRecord.open(dir);
  t.deepEqual(again.intact('f', 's', found), entry);
});

test('FolderRecord is not written through a link', async (t) => {
  const { dir, path } = await fresh();
  symlinkSync(path, join(dir, RECORD_NAME));
  await t.throwsAsync(FolderRecord.open(dir), { code: 'ERR_OUTPUT_UNWRITABLE' });
  t.is(readFileSync(path, 'utf8'), 'abc');
});

test('listedVersion() trusts a listing as far as it says something', (t) => {
  t.is(listedVersion({ etag: '"a"' }, undefined), listedVersion({ etag: '"a"' }, undefined));
  t.not(listedVersion({ etag: '"a"' }, 1), listedVersion({ etag: '"b"' }, 1));
  t.is(listedVersion({ etag: 'W/"a"' }, 1), undefined);
  t.is(listedVersion({ lastModified: 'x' }, undefined), undefined);
  t.not(listedVersion({ lastModified: 'x' }, 1), listedVersion({ lastModified: 'x' }, 2));
  t.is(listedVersion(undefined, 1), undefined);
});
