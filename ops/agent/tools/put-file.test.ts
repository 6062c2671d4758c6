import test from 'ava';
import type { ExecutionContext } from 'ava';
import { lstat, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { CodedError } from '../../../core/base/error.ts';
import { findUser } from '../local-user.ts';
import { putFile } from './put-file.ts';
import type { PutRequest } from './tool-requests.ts';

const signal = new AbortController().signal;
const isRoot = process.getuid?.() === 0;
const asRoot = isRoot ? test : test.skip;

async function folderOf(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-put-'));
  t.teardown(async () => rm(folder, { recursive: true, force: true }));
  return folder;
}

function request(path: string, fields: Partial<PutRequest> = {}): PutRequest {
  return { url: 'http://o/f', digest: 'sha256:0', path, mode: 0o640, owner: undefined, ...fields };
}

async function* content(...chunks: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield Buffer.from(chunk);
}

async function* failing(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('half');
  throw new CodedError('ERR_DIGEST_MISMATCH', 'other bytes');
}

test('putFile() makes a file with its mode, and replaces what is there', async (t) => {
  const folder = await folderOf(t);
  await mkdir(join(folder, 'a'));
  const path = join(folder, 'a', 'app.conf');
  const put = await putFile(request(path), content('one', '', ' two'), { folder, signal });
  t.deepEqual(put, { path, digest: 'sha256:0', bytes: 7 });
  t.is(await readFile(path, 'utf8'), 'one two');
  t.is((await lstat(path)).mode & 0o7777, 0o640);
  const before = (await lstat(path)).ino;
  await putFile(request(path, { mode: 0o755 }), content(), { folder, signal });
  t.is(await readFile(path, 'utf8'), '');
  t.is((await lstat(path)).mode & 0o7777, 0o755);
  t.not((await lstat(path)).ino, before, 'who has the former one open keeps it');
  t.deepEqual(await readdir(join(folder, 'a')), ['app.conf']);
});

test('putFile() leaves what is there when the content fails, and nothing else', async (t) => {
  const folder = await folderOf(t);
  const path = join(folder, 'app.conf');
  await writeFile(path, 'former');
  await t.throwsAsync(putFile(request(path), failing(), { folder, signal }), {
    code: 'ERR_DIGEST_MISMATCH',
  });
  t.is(await readFile(path, 'utf8'), 'former');
  t.deepEqual(await readdir(folder), ['app.conf']);
});

test('putFile() follows no link, neither on the way nor at the end', async (t) => {
  const folder = await folderOf(t);
  const outside = await folderOf(t);
  await writeFile(join(outside, 'secret'), 'mine');
  await symlink(outside, join(folder, 'way'));
  for (const path of [join(folder, 'way', 'secret'), join(folder, 'way', 'new')]) {
    await t.throwsAsync(putFile(request(path), content('x'), { folder, signal }), {
      code: 'ERR_OUTPUT_UNWRITABLE',
      message: /ENOTDIR|ELOOP/,
    });
  }
  const end = join(folder, 'end');
  await symlink(join(outside, 'secret'), end);
  await putFile(request(end), content('x'), { folder, signal });
  t.false((await lstat(end)).isSymbolicLink());
  t.is(await readFile(end, 'utf8'), 'x');
  t.is(await readFile(join(outside, 'secret'), 'utf8'), 'mine');
  t.deepEqual(await readdir(outside), ['secret']);
});

test('putFile() refuses a path that is a folder, or in none', async (t) => {
  const folder = await folderOf(t);
  await mkdir(join(folder, 'sub'));
  const refused = { code: 'ERR_OUTPUT_UNWRITABLE' };
  const options = { folder, signal };
  await t.throwsAsync(putFile(request(join(folder, 'sub')), content('x'), options), refused);
  await t.throwsAsync(putFile(request(join(folder, 'no', 'f')), content('x'), options), refused);
  t.deepEqual(await readdir(folder), ['sub']);
});

test('putFile() knows the users and groups of this host', async (t) => {
  const folder = await folderOf(t);
  for (const owner of [
    { user: 'no-such-user', group: undefined },
    { user: userInfo().username, group: 'no-such-group' },
  ]) {
    await t.throwsAsync(
      putFile(request(join(folder, 'f'), { owner }), content('x'), { folder, signal }),
      { code: 'ERR_FORBIDDEN', message: /no-such-(?:user|group)/ },
    );
  }
  t.deepEqual(await readdir(folder), []);
});

asRoot('putFile() gives the file its owner (skipped: needs root)', async (t) => {
  const folder = await folderOf(t);
  const path = join(folder, 'f');
  const { uid, gid } = await findUser('nobody');
  const options = { folder, signal };
  await putFile(
    request(path, { owner: { user: 'nobody', group: undefined } }),
    content('x'),
    options,
  );
  const own = await lstat(path);
  t.deepEqual([own.uid, own.gid], [uid, gid]);
  await putFile(request(path, { owner: { user: 'nobody', group: 'root' } }), content('x'), options);
  const ofRoot = await lstat(path);
  t.deepEqual([ofRoot.uid, ofRoot.gid], [uid, 0]);
});
