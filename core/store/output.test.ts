import test from 'ava';
import type { ExecutionContext } from 'ava';
import {
  chmod,
  chown,
  lchown,
  link,
  lstat,
  mkdir,
  readdir,
  open,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { CodedError } from '../base/error.ts';
import { contentOf, removeFolder, temporaryFolder } from './fixtures/content.ts';
import { exportFile, writeStreamTo } from './output.ts';
import type { ExportOptions } from './output.ts';
import { PartFile } from './part-file.ts';

const signal = new AbortController().signal;
const fresh: ExportOptions = { overwrite: false, allowHardLink: false, signal };
const CONTENT = contentOf('output', 3_000_000);

async function folderOf(
  t: ExecutionContext,
): Promise<{ folder: string; source: string; target: string }> {
  const folder = await temporaryFolder();
  t.teardown(() => removeFolder(folder));
  const source = join(folder, 'store', 'source');
  await mkdir(join(folder, 'store'));
  await mkdir(join(folder, 'out'));
  await writeFile(source, CONTENT);
  return { folder, source, target: join(folder, 'out', 'target') };
}

async function* chunks(...parts: (string | Error)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    if (part instanceof Error) throw part;
    yield Buffer.from(part);
  }
}

async function namesBeside(target: string): Promise<string[]> {
  return (await readdir(join(target, '..'))).toSorted();
}

/** The mode of a file that somebody just makes beside `target`. */
async function plainMode(target: string): Promise<number> {
  await writeFile(`${target}.plain`, '');
  return (await stat(`${target}.plain`)).mode & 0o777;
}

test('exportFile() makes an output of its own, as the umask wants it', async (t) => {
  const { source, target } = await folderOf(t);
  await chmod(source, 0o600);
  const method = await exportFile(source, target, fresh);
  t.deepEqual(await namesBeside(target), ['target']);
  t.true(method === 'copy' || method === 'reflink');
  t.true(CONTENT.equals(await readFile(target)));
  const { mode, nlink, ino } = await stat(target);
  t.is(mode & 0o777, await plainMode(target));
  t.is(nlink, 1);
  t.not(ino, (await stat(source)).ino);
});

test('exportFile() makes a hard link where that is allowed', async (t) => {
  const { source, target } = await folderOf(t);
  const method = await exportFile(source, target, { ...fresh, allowHardLink: true });
  if (method === 'reflink') {
    t.pass('this filesystem shares blocks');
    return;
  }
  t.is(method, 'hardlink');
  t.is((await stat(target)).ino, (await stat(source)).ino);
  t.deepEqual(await namesBeside(target), ['target']);
  const again = { ...fresh, allowHardLink: true, overwrite: true };
  t.is(await exportFile(source, target, again), 'hardlink', 'over a link to the same file');
  t.deepEqual(await namesBeside(target), ['target']);
});

test('exportFile() copies across filesystems', async (t) => {
  const { source } = await folderOf(t);
  if (!isWritable('/dev/shm')) {
    t.pass('no second filesystem');
    return;
  }
  const other = await temporaryFolder('/dev/shm');
  t.teardown(() => removeFolder(other));
  const target = join(other, 'target');
  t.is(await exportFile(source, target, { ...fresh, allowHardLink: true }), 'copy');
  t.true(CONTENT.equals(await readFile(target)));
});

test('exportFile() makes an empty output of empty content', async (t) => {
  const { source, target } = await folderOf(t);
  await writeFile(source, '');
  await exportFile(source, target, fresh);
  t.is((await stat(target)).size, 0);
});

test('exportFile() leaves an existing output alone without overwrite', async (t) => {
  const { source, target } = await folderOf(t);
  await writeFile(target, 'mine');
  await t.throwsAsync(exportFile(source, target, fresh), { code: 'ERR_OUTPUT_EXISTS' });
  t.is(await readFile(target, 'utf8'), 'mine');
  await exportFile(source, target, { ...fresh, overwrite: true });
  t.true(CONTENT.equals(await readFile(target)));
  t.deepEqual(await namesBeside(target), ['target']);
});

test('writeStreamTo() does not clobber a file that appears while it writes', async (t) => {
  const { target } = await folderOf(t);
  async function* slow(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('theirs');
    await writeFile(target, 'mine');
    yield Buffer.from('theirs too');
  }
  await t.throwsAsync(writeStreamTo(target, slow(), fresh), { code: 'ERR_OUTPUT_EXISTS' });
  t.is(await readFile(target, 'utf8'), 'mine');
  t.deepEqual(await namesBeside(target), ['target']);
});

test('writeStreamTo() shows the output under its name only when it is whole', async (t) => {
  const { target } = await folderOf(t);
  await writeFile(target, 'old');
  async function* watching(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('new ');
    t.is(await readFile(target, 'utf8'), 'old');
    yield Buffer.from('content');
  }
  t.is(await writeStreamTo(target, watching(), { overwrite: true, signal }), 11);
  t.is(await readFile(target, 'utf8'), 'new content');
  t.is((await stat(target)).mode & 0o777, await plainMode(target));
});

test('writeStreamTo() passes on the error of its source and leaves nothing behind', async (t) => {
  const { target } = await folderOf(t);
  const failure = new CodedError('ERR_ORIGIN_SHORT', 'short');
  const error = await t.throwsAsync(writeStreamTo(target, chunks('some', failure), fresh));
  t.is(error, failure);
  t.deepEqual(await namesBeside(target), []);
});

test('writeStreamTo() ends at an abort although its source waits for ever', async (t) => {
  const { target } = await folderOf(t);
  const controller = new AbortController();
  async function* endless(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('some');
    controller.abort();
    await new Promise(() => undefined);
  }
  const options = { overwrite: false, signal: controller.signal };
  await t.throwsAsync(writeStreamTo(target, endless(), options), { code: 'ERR_INTERRUPTED' });
  t.deepEqual(await namesBeside(target), []);
});

test('exportFile() aborted before it began leaves nothing behind', async (t) => {
  const { source, target } = await folderOf(t);
  const options = { ...fresh, signal: AbortSignal.abort() };
  await t.throwsAsync(exportFile(source, target, options), { code: 'ERR_INTERRUPTED' });
  t.deepEqual(await namesBeside(target), []);
});

test('exportFile() keeps a symbolic link and replaces the file it names', async (t) => {
  const { folder, source, target } = await folderOf(t);
  const real = join(folder, 'real');
  await writeFile(real, 'old');
  await link(real, join(folder, 'other name'));
  await symlink('../real', join(folder, 'out', 'hop'));
  await symlink('hop', target);
  await t.throwsAsync(exportFile(source, target, fresh), { code: 'ERR_OUTPUT_EXISTS' });
  await exportFile(source, target, { ...fresh, overwrite: true });
  t.true((await lstat(target)).isSymbolicLink());
  t.true(CONTENT.equals(await readFile(real)));
  t.is(await readFile(join(folder, 'other name'), 'utf8'), 'old', 'replaced, not written into');
});

test('exportFile() makes the file that a dangling link names', async (t) => {
  const { folder, source, target } = await folderOf(t);
  await symlink('../not yet', target);
  await exportFile(source, target, { ...fresh, overwrite: true });
  t.true(CONTENT.equals(await readFile(join(folder, 'not yet'))));
});

test('exportFile() refuses what cannot be written, and names path and system code', async (t) => {
  const { folder, source, target } = await folderOf(t);
  const overwrite = { ...fresh, overwrite: true };
  const absent = join(folder, 'no', 'such');
  const error = await t.throwsAsync<CodedError>(exportFile(source, absent, fresh), {
    code: 'ERR_OUTPUT_UNWRITABLE',
  });
  t.deepEqual(error?.detail, { output: absent, systemCode: 'ENOENT' });
  await t.throwsAsync(exportFile(source, join(folder, 'out'), overwrite), {
    code: 'ERR_OUTPUT_UNWRITABLE',
  });
  await t.throwsAsync(exportFile(source, join(source, 'below'), overwrite), {
    code: 'ERR_OUTPUT_UNWRITABLE',
  });
  await symlink('target', target);
  await t.throwsAsync(exportFile(source, target, overwrite), { code: 'ERR_OUTPUT_UNWRITABLE' });
});

test('exportFile() never replaces a device, not even by way of a link', async (t) => {
  const { source, target } = await folderOf(t);
  const overwrite = { ...fresh, overwrite: true };
  await symlink('/dev/null', target);
  await t.throwsAsync(exportFile(source, target, overwrite), { code: 'ERR_OUTPUT_UNWRITABLE' });
  await t.throwsAsync(exportFile(source, '/dev/null', overwrite), {
    code: 'ERR_OUTPUT_UNWRITABLE',
  });
  t.true((await stat('/dev/null')).isCharacterDevice());
});

test('exportFile() refuses a source that is gone, is no file, is a link, or is another user’s', async (t) => {
  const { folder, source, target } = await folderOf(t);
  const linked = join(folder, 'link');
  await symlink(source, linked);
  for (const bad of [join(folder, 'gone'), folder, linked]) {
    await t.throwsAsync(exportFile(bad, target, fresh), { code: 'ERR_STORE_IO' }, bad);
  }
  const options = { ...fresh, sourceUid: (await stat(source)).uid + 1 };
  await t.throwsAsync(exportFile(source, target, options), { code: 'ERR_STORE_IO' });
  t.deepEqual(await namesBeside(target), []);
});

/** Puts a link to `victim` where the temporary file of an output is, as another user can in a folder of both. */
async function replaceParts(folder: string, victim: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.endsWith('.part')) continue;
    await rm(join(folder, name));
    await symlink(victim, join(folder, name));
  }
}

test('writeStreamTo() does not give the name of the output to what was put in the place of its file', async (t) => {
  const { folder, target } = await folderOf(t);
  const victim = join(folder, 'victim');
  await writeFile(victim, 'mine');
  await writeFile(target, 'former');
  async function* attacked(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('some');
    await replaceParts(join(folder, 'out'), victim);
    yield Buffer.from('more');
  }
  await t.throwsAsync(writeStreamTo(target, attacked(), { overwrite: true, signal }), {
    code: 'ERR_OUTPUT_UNWRITABLE',
    message: /ESTALE/,
  });
  t.is(await readFile(victim, 'utf8'), 'mine');
  t.is(await readFile(target, 'utf8'), 'former');
  t.deepEqual(await namesBeside(target), ['target']);
});

test('PartFile writes, shares and changes its own file, whatever its name means by now', async (t) => {
  const { folder, source, target } = await folderOf(t);
  const victim = join(folder, 'victim');
  await writeFile(victim, 'mine');
  await chmod(victim, 0o600);
  await chmod(source, 0o644);
  {
    await using content = await open(source);
    await using part = await PartFile.open(`${target}.part`);
    await replaceParts(join(folder, 'out'), victim);
    await part.reflink(content);
    await part.write(Buffer.from('theirs'));
    await t.throwsAsync(part.check(), { code: 'ESTALE' });
    t.is(await readFile(victim, 'utf8'), 'mine');
    t.is((await stat(victim)).mode & 0o777, 0o600);
    await part.hardLink(source, await stat(source));
    await t.notThrowsAsync(part.check());
    await rename(source, `${source}.moved`);
    t.false(await part.hardLink(source, await stat(victim)), 'a source that is gone');
    await part.write(Buffer.from('copied'));
    t.is(await readFile(part.path, 'utf8'), 'copied', 'it is an empty file of its own again');
    t.true(CONTENT.equals(await readFile(`${source}.moved`)), 'and the content is as it was');
  }
  t.is(await readFile(victim, 'utf8'), 'mine');
  t.deepEqual(await namesBeside(target), []);
});

test('exportFile() does not follow the link of a stranger in a folder that everybody may write in', async (t) => {
  if (process.geteuid?.() !== 0) {
    t.pass('needs root: a link of another user');
    return;
  }
  const { folder, source } = await folderOf(t);
  const victim = join(folder, 'victim');
  await writeFile(victim, 'mine');
  for (const mode of [0o1777, 0o777]) {
    const shared = join(folder, `shared-${mode}`);
    await mkdir(shared);
    await chmod(shared, mode);
    const target = join(shared, 'target');
    await symlink(victim, target);
    await lchown(target, 12_345, 12_345);
    const overwrite = { ...fresh, overwrite: true };
    await t.throwsAsync(exportFile(source, target, overwrite), { code: 'ERR_OUTPUT_UNWRITABLE' });
    t.is(await readFile(victim, 'utf8'), 'mine');
    t.deepEqual(await readdir(shared), ['target']);
    // In a folder of the stranger's own it is his folder to say what is where.
    await chown(shared, 12_345, 12_345);
    await chmod(shared, 0o755);
    await exportFile(source, target, overwrite);
    t.true(CONTENT.equals(await readFile(victim)));
    await writeFile(victim, 'mine');
  }
});

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
