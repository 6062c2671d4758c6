import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { removeFolder, temporaryFolder } from '../store/fixtures/content.ts';
import { MembershipFile } from './membership-file.ts';
import type { KnownCell } from './membership-file.ts';

function knownAt(now: number): KnownCell {
  const record = `v1.record.${now}`;
  return { cell: 'cell', membership: { type: 'membership', record, certificates: [], now } };
}

test('MembershipFile writes one after the other, the newest last, and leaves nothing else behind', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(async () => removeFolder(folder));
  const path = join(folder, 'identity', 'membership.json');
  const file = new MembershipFile(path);
  t.is(await file.read(), undefined);
  const writes = Array.from({ length: 20 }, async (_unused, now) => file.write(knownAt(now)));
  await Promise.all(writes);
  t.deepEqual(await file.read(), knownAt(19));
  t.deepEqual(await readdir(join(folder, 'identity')), ['membership.json']);
  t.is((await stat(path)).mode & 0o777, 0o600);
});

test('MembershipFile tells everybody who waits that it could not write, and writes again', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(async () => removeFolder(folder));
  await writeFile(join(folder, 'identity'), 'in the way');
  const file = new MembershipFile(join(folder, 'identity', 'membership.json'));
  const writes = await Promise.allSettled([file.write(knownAt(1)), file.write(knownAt(2))]);
  t.deepEqual(
    writes.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  await removeFolder(join(folder, 'identity'));
  await file.write(knownAt(3));
  t.deepEqual(await file.read(), knownAt(3));
});

test('MembershipFile refuses a file that it cannot use, and names it', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(async () => removeFolder(folder));
  const path = join(folder, 'membership.json');
  for (const text of ['', '{}', '{"v":2,"cell":"c","membership":{}}']) {
    await writeFile(path, text);
    const error = await t.throwsAsync(new MembershipFile(path).read(), { code: 'ERR_KEY_FILE' });
    t.true(error?.message.includes(path));
  }
});
