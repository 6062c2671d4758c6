import test from 'ava';
import type { ExecutionContext } from 'ava';
import { lstat, mkdtemp, readFile, readdir, readlink, rm } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { Header } from 'tar';
import type { HeaderData } from 'tar';
import { unpackTarball } from './unpack-tarball.ts';

const signal = new AbortController().signal;

interface Entry extends HeaderData {
  readonly path: string;
  readonly text?: string;
}

/** A tar of exactly these entries, whatever a packer would think of them. */
function tarball(...entries: readonly Entry[]): Buffer {
  const parts = entries.flatMap(({ text = '', ...fields }) => {
    const block = Buffer.alloc(512);
    const size = Buffer.byteLength(text);
    new Header({ type: 'File', mode: 0o644, ...fields, size }).encode(block, 0);
    const body = Buffer.alloc(Math.ceil(Buffer.byteLength(text) / 512) * 512);
    body.write(text);
    return [block, body];
  });
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

function link(path: string, linkpath: string): Entry {
  return { path, type: 'SymbolicLink', linkpath };
}

/** In chunks of a size that fits nothing. */
async function* inChunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 777) yield bytes.subarray(at, at + 777);
}

async function freshFolder(t: ExecutionContext): Promise<{ inside: string; outside: string }> {
  const outside = await mkdtemp(join(tmpdir(), 'odonata-unpack-'));
  t.teardown(async () => rm(outside, { recursive: true, force: true }));
  return { inside: await mkdtemp(join(outside, 'package-')), outside };
}

test('unpackTarball() unpacks files, folders and links, plain, with gzip and with zstd', async (t) => {
  const plain = tarball(
    { path: './', type: 'Directory', mode: 0o755 },
    { path: './package.yaml', text: 'name: web\n' },
    { path: 'bin/web', mode: 0o6755, text: 'x'.repeat(100_000) },
    { path: 'bin/link', type: 'SymbolicLink', linkpath: '../package.yaml' },
    { path: 'hard', type: 'Link', linkpath: 'bin/web' },
    { path: 'empty', type: 'Directory', mode: 0o700 },
  );
  for (const bytes of [plain, gzipSync(plain), zstdCompressSync(plain)]) {
    const { inside } = await freshFolder(t);
    await unpackTarball(inChunks(bytes), inside, { signal });
    t.deepEqual((await readdir(inside)).toSorted(), ['bin', 'empty', 'hard', 'package.yaml']);
    t.is(await readFile(join(inside, 'bin/link'), 'utf8'), 'name: web\n');
    t.is(await readlink(join(inside, 'bin/link')), '../package.yaml');
    const program = await lstat(join(inside, 'bin/web'));
    t.is(program.mode & 0o7777, 0o755, 'without the bits that lend rights');
    t.is(program.size, 100_000);
    t.is((await lstat(join(inside, 'hard'))).ino, program.ino);
    t.is(program.uid, userInfo().uid);
  }
});

test('unpackTarball() refuses what lies or points outside of the folder, and what is no file', async (t) => {
  const cases: [readonly Entry[], RegExp][] = [
    [[{ path: '/etc/evil', text: 'x' }], /is outside/],
    [[{ path: '../evil', text: 'x' }], /is outside/],
    [[{ path: 'a/../../evil', text: 'x' }], /is outside/],
    [[{ path: 'a/../evil', text: 'x' }], /is outside/],
    [[link('a', '/etc')], /points to what is outside/],
    [[link('a', '..')], /points to what is outside/],
    [[link('a/b', '../../x')], /points to what is outside/],
    // By way of a link that is right in itself.
    [[link('a/b/top', '../..'), link('a/b/out', 'top/../x')], /points to what is outside/],
    [[{ path: 'a', type: 'Link', linkpath: '../x' }], /links to what is outside/],
    [[{ path: 'a', type: 'Link', linkpath: '/etc/passwd' }], /links to what is outside/],
    [[link('way', '.'), { path: 'way/evil', text: 'x' }], /symlink|Symbolic/i],
    [[{ path: 'fifo', type: 'FIFO' }], /is a FIFO/],
    [[{ path: 'tty', type: 'CharacterDevice', devmaj: 5, devmin: 0 }], /is a CharacterDevice/],
    [[{ path: 'sda', type: 'BlockDevice', devmaj: 8, devmin: 0 }], /is a BlockDevice/],
  ];
  for (const [entries, message] of cases) {
    const { inside, outside } = await freshFolder(t);
    const bytes = tarball({ path: 'ok', text: 'ok' }, ...entries, { path: 'after', text: 'x' });
    const error = await t.throwsAsync(unpackTarball(inChunks(bytes), inside, { signal }), {
      code: 'ERR_CONFIG',
    });
    t.regex(error?.message ?? '', message, JSON.stringify(entries));
    t.deepEqual((await readdir(outside)).length, 1, 'nothing came to lie outside');
  }
});

test('unpackTarball() refuses more than its limits before it is written', async (t) => {
  const limits = { entries: 3, bytes: 1_000 };
  const { inside } = await freshFolder(t);
  const four = tarball(...['a', 'b', 'c', 'd'].map((path) => ({ path, text: 'x' })));
  await t.throwsAsync(unpackTarball(inChunks(four), inside, { signal, limits }), {
    code: 'ERR_CONFIG',
    message: /"d" is above 3 entries/,
  });
  const large = await freshFolder(t);
  const big = tarball({ path: 'a', text: 'x'.repeat(600) }, { path: 'b', text: 'x'.repeat(600) });
  await t.throwsAsync(unpackTarball(inChunks(big), large.inside, { signal, limits }), {
    code: 'ERR_CONFIG',
    message: /"b" is above 1000 bytes/,
  });
  t.deepEqual(await readdir(large.inside), ['a']);
});

test('unpackTarball() refuses what is no tar, or a part of one', async (t) => {
  const whole = tarball({ path: 'a', text: 'x'.repeat(5_000) });
  const cases = [
    Buffer.alloc(0),
    Buffer.from('#!/bin/sh\n'.repeat(200)),
    gzipSync(Buffer.from('no tar'.repeat(500))),
    whole.subarray(0, 3_000),
    gzipSync(whole).subarray(0, 40),
  ];
  for (const [at, bytes] of cases.entries()) {
    const { inside } = await freshFolder(t);
    await t.throwsAsync(
      unpackTarball(inChunks(bytes), inside, { signal }),
      { code: 'ERR_CONFIG' },
      `case ${at}`,
    );
  }
});

test('unpackTarball() writes nothing of a file for which there is no room', async (t) => {
  const { inside } = await freshFolder(t);
  const bytes = tarball({ path: 'a', text: 'x'.repeat(100) }, { path: 'b', text: 'x'.repeat(101) });
  const unpacking = unpackTarball(inChunks(bytes), inside, { signal, roomBytes: 200 });
  await t.throwsAsync(unpacking, { code: 'ERR_NO_SPACE' });
  t.false((await readdir(inside)).includes('b'));
  await unpackTarball(inChunks(bytes), (await freshFolder(t)).inside, { signal, roomBytes: 201 });
});
