import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import test from 'ava';
import * as fc from 'fast-check';
import { contentChunks, contentDigest, contentLength, contentTag, seededBytes } from './content.ts';

test('seededBytes() gives the same bytes from any offset', (t) => {
  const all = seededBytes(7, 0, 300_000);
  fc.assert(
    fc.property(fc.nat(300_000), fc.nat(300_000), (a, b) => {
      const [start, end] = a < b ? [a, b] : [b, a];
      return seededBytes(7, start, end).equals(all.subarray(start, end));
    }),
  );
  t.false(seededBytes(8, 0, 4096).equals(all.subarray(0, 4096)));
});

test('seededBytes() has no two equal pages', (t) => {
  const length = 4 * 1024 * 1024;
  const bytes = seededBytes(7, 0, length);
  const pages = new Set<string>();
  for (let at = 0; at < length; at += 4096) {
    pages.add(
      createHash('sha256')
        .update(bytes.subarray(at, at + 4096))
        .digest('hex'),
    );
  }
  t.is(pages.size, length / 4096);
});

test('seededBytes() does not compress on the way between hosts, 256 KiB at a time', (t) => {
  for (let at = 0; at < 1024 * 1024; at += 256 * 1024) {
    const unit = seededBytes(7, at, at + 256 * 1024);
    t.true(zstdCompressSync(unit).length > 0.99 * unit.length);
  }
});

test('contentChunks(), contentLength() and contentDigest() agree for files, seeds and bytes', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-content-'));
  t.teardown(async () => rm(folder, { recursive: true }));
  const file = join(folder, 'file');
  const bytes = seededBytes(7, 0, 600_000);
  await writeFile(file, bytes);
  const expected = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  for (const content of [{ file }, { bytes }, { seed: 7, length: bytes.length }]) {
    t.is(contentLength(content), bytes.length);
    t.is(await contentDigest(content), expected);
    const chunks: Uint8Array[] = [];
    for await (const chunk of contentChunks(content, 5, 500_001)) chunks.push(chunk);
    t.true(Buffer.concat(chunks).equals(bytes.subarray(5, 500_001)));
  }
});

test('contentTag() changes with the content', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-content-'));
  t.teardown(async () => rm(folder, { recursive: true }));
  const file = join(folder, 'file');
  await writeFile(file, 'one');
  const before = contentTag({ file });
  t.is(contentTag({ file }), before);
  await writeFile(file, 'other');
  t.not(contentTag({ file }), before);
  t.not(contentTag({ seed: 1, length: 5 }), contentTag({ seed: 2, length: 5 }));
  t.not(contentTag({ bytes: Buffer.from('a') }), contentTag({ bytes: Buffer.from('b') }));
});
