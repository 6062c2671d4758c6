import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { makeFolder, makeMemoryFolder } from './data-folders.ts';

const uid = process.getuid?.() ?? 0;
const some = { uid, quotaBytes: 4096 };

function fresh(): string {
  return temporaryFolder('dfd');
}

test('makeFolder() makes a folder for this user alone, and names flag and folder when it cannot', async (t) => {
  const path = join(fresh(), 'a', 'b');
  await makeFolder(path, '--data-dir');
  t.is(statSync(path).mode & 0o777, 0o700);
  await makeFolder(path, '--data-dir');
  writeFileSync(join(path, 'file'), '');
  await t.throwsAsync(makeFolder(join(path, 'file'), '--data-dir'), {
    code: 'ERR_STORE_IO',
    message: /^--data-dir: cannot make .*file/,
  });
});

test('makeMemoryFolder() tells when the folder is not in memory, or too small for the quota', async (t) => {
  const onDisk = mkdtempSync('/var/tmp/odonata-test-');
  t.teardown(() => rmSync(onDisk, { recursive: true }));
  t.deepEqual(await makeMemoryFolder(onDisk, some), ['it is not on a filesystem in memory']);
  if (process.platform !== 'linux') return;
  const inMemory = mkdtempSync('/dev/shm/odonata-test-');
  t.teardown(() => rmSync(inMemory, { recursive: true }));
  t.deepEqual(await makeMemoryFolder(inMemory, some), []);
  t.deepEqual(await makeMemoryFolder(inMemory, { uid, quotaBytes: undefined }), []);
  const [note = ''] = await makeMemoryFolder(inMemory, { uid, quotaBytes: 2 ** 50 });
  t.regex(note, /less than the quota/);
});

test('makeMemoryFolder() refuses a folder that others made or can write in', async (t) => {
  const folder = fresh();
  const open = join(folder, 'open');
  mkdirSync(open);
  chmodSync(open, 0o777);
  const linked = join(folder, 'linked');
  symlinkSync(fresh(), linked);
  const refusal = { code: 'ERR_STORE_IO', message: /^--memory-dir: others can write/ };
  await t.throwsAsync(makeMemoryFolder(open, some), refusal);
  await t.throwsAsync(makeMemoryFolder(linked, some), refusal);
  await t.throwsAsync(makeMemoryFolder(fresh(), { ...some, uid: uid + 1 }), refusal);
});
