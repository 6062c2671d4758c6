import { brotliCompressSync, deflateRawSync, gzipSync, zstdCompressSync } from 'node:zlib';
import test from 'ava';
import { ContentWorth, isDenseStart, isDenseType } from './content-worth.ts';

test('isDenseType() knows media types whose content is compressed already', (t) => {
  for (const type of [
    'application/gzip',
    'application/x-gzip; charset=binary',
    'application/zstd',
    'application/zip',
    'application/x-xz',
    'application/java-archive',
    'application/vnd.docker.image.rootfs.diff.tar.gzip',
    'application/vnd.oci.image.layer.v1.tar+gzip',
    'application/vnd.oci.image.layer.v1.tar+zstd',
    'image/jpeg',
    'IMAGE/PNG',
    'video/mp4',
    'audio/mpeg',
    'font/woff2',
  ]) {
    t.true(isDenseType(type), type);
  }
  for (const type of [
    'application/octet-stream',
    'application/x-tar',
    'application/vnd.oci.image.layer.v1.tar',
    'application/json',
    'text/plain',
    'text/html; charset=utf-8',
    'image/svg+xml',
    'image/bmp',
    'audio/wav',
    'font/ttf',
    '',
  ]) {
    t.false(isDenseType(type), type);
  }
});

test('isDenseStart() knows the first bytes of compressed formats, and takes any other for what may compress', (t) => {
  const text = Buffer.from('text that would be compressed');
  for (const bytes of [
    gzipSync(text),
    zstdCompressSync(text),
    Buffer.from('PK\u0003\u0004'),
    Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]),
    Buffer.from([0xff, 0xd8, 0xff, 0xe0]),
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    Buffer.from('\0\0\0\u0018ftypmp42'),
    Buffer.from('RIFF....WEBPVP8 '),
  ]) {
    t.true(isDenseStart(bytes), bytes.toString('latin1'));
  }
  for (const bytes of [
    text,
    Buffer.alloc(0),
    Buffer.from('\u007fELF'),
    Buffer.from('RIFF....WAVEfmt '),
    brotliCompressSync(text),
    deflateRawSync(text),
  ]) {
    t.false(isDenseStart(bytes), bytes.toString('latin1'));
  }
});

test('ContentWorth rests longer each time a unit does not shrink, and no longer once one does', (t) => {
  const worth = new ContentWorth();
  const tried: number[] = [];
  for (let unit = 0; unit < 5_000; unit += 1) {
    if (worth.isDue) {
      tried.push(unit);
      worth.stayed();
    } else worth.passed();
  }
  t.deepEqual(tried.slice(0, 6), [0, 2, 5, 10, 19, 36]);
  t.true(tried.length < 16, `${tried.length} of 5,000 are tried`);
  t.false(worth.isProven);
  worth.shrank(0.3);
  t.true(worth.isDue && worth.isProven);
  const { ratio } = worth;
  worth.shrank(0.3);
  t.true(worth.ratio < ratio && worth.ratio > 0.3);
});
