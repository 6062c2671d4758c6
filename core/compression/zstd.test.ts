import { randomBytes } from 'node:crypto';
import { zstdCompressSync } from 'node:zlib';
import test from 'ava';
import { UNIT_BYTES } from './unit.ts';
import { NodeZstd, openZstd } from './zstd.ts';

const libraries = [openZstd(), new NodeZstd()];
const text = Buffer.alloc(UNIT_BYTES, 'what compresses well, and is a unit long; ');
const raws = [text, randomBytes(UNIT_BYTES), text.subarray(0, 300), text.subarray(0, 1)];

test('Zstd gives back what it was given, whichever library wrote it and whichever reads it', (t) => {
  for (const writer of libraries) {
    for (const raw of raws) {
      for (const level of [1, 3, 6]) {
        const frame = Buffer.from(writer.compress(raw, level));
        for (const reader of libraries) {
          t.true(raw.equals(reader.decompress(frame, raw.length)), `level ${level}`);
        }
      }
    }
    t.true(writer.compress(text, 1).length < text.length / 100);
  }
});

test('Zstd refuses what holds more or less than it should, is cut short, or is followed by anything', (t) => {
  for (const writer of libraries) {
    const frame = Buffer.from(writer.compress(text, 1));
    const bomb = Buffer.from(writer.compress(Buffer.alloc(50 * 1024 * 1024), 1));
    t.true(bomb.length < 10_000);
    const lies = Buffer.from(bomb);
    // A bomb that states the length of a unit.
    lies.writeUInt32LE(UNIT_BYTES, 5);
    const cases = new Map([
      ['a bomb', bomb],
      ['a bomb that states another length', lies],
      ['nothing', Buffer.alloc(0)],
      ['a header', frame.subarray(0, 9)],
      ['garbage', randomBytes(1000)],
      ['something behind it', Buffer.concat([frame, Buffer.from('x')])],
      ['a second frame', Buffer.concat([frame, frame])],
      ['an empty frame behind it', Buffer.concat([frame, zstdCompressSync(Buffer.alloc(0))])],
      [
        'a skippable frame behind it',
        Buffer.concat([frame, Buffer.from('502a4d1800000000', 'hex')]),
      ],
    ]);
    for (let bytes = 1; bytes < frame.length; bytes += 1) {
      cases.set(`the first ${bytes} bytes`, frame.subarray(0, bytes));
    }
    for (const reader of libraries) {
      for (const [what, bytes] of cases) {
        const error = t.throws(() => reader.decompress(bytes, UNIT_BYTES), undefined, what);
        t.like(error, { code: 'ERR_PROTOCOL' }, what);
      }
      t.throws(() => reader.decompress(frame, UNIT_BYTES - 1), { code: 'ERR_PROTOCOL' });
      t.throws(() => reader.decompress(frame, UNIT_BYTES + 1), { code: 'ERR_PROTOCOL' });
    }
  }
});

test('Zstd survives frames in which any byte is another: an error, or as many bytes as were asked for', (t) => {
  for (const [at, writer] of libraries.entries()) {
    const raw = Buffer.from(Array.from({ length: 4000 }, (_item, byte) => (byte * byte) % 97));
    const frame = Buffer.from(writer.compress(raw, 3));
    let refused = 0;
    for (let byte = 0; byte < frame.length; byte += 1) {
      const changed = Buffer.from(frame);
      changed[byte] = (changed[byte] ?? 0) ^ (1 << ((byte + at) % 8));
      for (const reader of libraries) {
        try {
          t.is(reader.decompress(changed, raw.length).length, raw.length);
        } catch (error) {
          t.like(error, { code: 'ERR_PROTOCOL' });
          refused += 1;
        }
      }
    }
    t.true(refused > 0);
  }
});
