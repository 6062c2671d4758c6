import test from 'ava';
import { randomBytes } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { mounting } from '../../test/support/mounting-test.ts';
import { Tmpfs } from '../../test/support/tmpfs.ts';
import { removeFolder, temporaryFolder } from './fixtures/content.ts';
import { Journal } from './journal.ts';

const MIB = 1024 * 1024;
const ROWS = 32;

async function folderBytes(directory: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(directory)) {
    // Level may have removed it since.
    const facts = await stat(join(directory, name)).catch(() => undefined);
    bytes += facts?.size ?? 0;
  }
  return bytes;
}

/** Writes 16 MiB that level cannot make smaller, and deletes all of it but one row. */
async function writeAndDelete(journal: Journal, round: number): Promise<void> {
  const keys = Array.from({ length: ROWS }, (_none, at) => `row/${at}/${round}`);
  for (const key of keys) {
    const value = randomBytes(MIB / 2).toString('latin1');
    await journal.write([{ type: 'put', key, value }]);
  }
  await journal.write(keys.slice(1).map((key) => ({ type: 'del', key })));
}

test('Journal.compact() keeps the folder small, however much was written and deleted', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => removeFolder(folder));
  await using journal = await Journal.open(join(folder, 'journal'));
  let largest = 0;
  for (let round = 0; round < 3; round += 1) {
    await writeAndDelete(journal, round);
    const before = await folderBytes(journal.directory);
    largest = Math.max(largest, before);
    await journal.compact();
    const after = await folderBytes(journal.directory);
    t.log(`${before} bytes, then ${after}`);
    t.true(after < 12 * MIB, `${after} bytes`);
  }
  t.true(largest > 12 * MIB, 'there was something to give back');
  t.not(journal.get('row/0/2'), undefined);
  t.is(journal.get('row/1/2'), undefined);
});

test('Journal.close() waits for a compaction under way', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => removeFolder(folder));
  const journal = await Journal.open(join(folder, 'journal'));
  await writeAndDelete(journal, 0);
  const compacting = journal.compact();
  await journal.close();
  await t.notThrowsAsync(compacting);
  await t.notThrowsAsync(journal.compact(), 'and none begins after it');
});

mounting(
  'Journal.open() opens on a disk that others have filled, with room that it kept',
  async (t) => {
    const folder = await temporaryFolder();
    t.teardown(() => removeFolder(folder));
    await using disk = await Tmpfs.mount(join(folder, 'disk'), { mib: 32 });
    const directory = join(disk.path, 'journal');
    const reserve = join(directory, 'reserve');
    const value = randomBytes(MIB / 2).toString('latin1');
    {
      await using journal = await Journal.open(directory);
      await journal.write([{ type: 'put', key: 'row/old', value }]);
      await journal.keepReserve();
      t.is((await stat(reserve)).size, 4 * MIB);
    }
    {
      await using _ballast = await disk.fill();
      await using journal = await Journal.open(directory);
      t.is(journal.get('row/old'), value);
      await journal.write([{ type: 'put', key: 'row/new', value }]);
      await journal.keepReserve();
      await t.throwsAsync(stat(reserve), { code: 'ENOENT' }, 'there is no room for another');
    }
    {
      await using _ballast = await disk.fill();
      await t.throwsAsync(Journal.open(directory), { code: 'ERR_NO_SPACE' }, 'it is used up');
    }
    await using journal = await Journal.open(directory);
    t.is(journal.get('row/new'), value);
    await journal.keepReserve();
    t.is((await stat(reserve)).size, 4 * MIB);
  },
);
