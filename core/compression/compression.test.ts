import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import test from 'ava';
import { SystemClock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { silentLog } from '../base/log.ts';
import { Compression } from './compression.ts';
import type { UnitSource } from './compression.ts';
import { UNIT_BYTES } from './unit.ts';

const slow = 5_000_000;
const text = Buffer.alloc(4 * UNIT_BYTES);
for (let at = 0; at < text.length; at += 16) text.write(`line ${at % 9973} of it\n`, at);

function sourceOf(
  content: Buffer,
  options: { mediaType?: string; has?: (piece: number) => boolean } = {},
): UnitSource & { reads: number } {
  return {
    key: 'task/version',
    reads: 0,
    mediaType: () => options.mediaType,
    has: options.has ?? (() => true),
    read(piece, offset, target) {
      this.reads += target.length;
      const start = piece * UNIT_BYTES + offset;
      content.copy(target, 0, start, start + target.length);
      return Math.min(target.length, content.length - start);
    },
  };
}

function unitOf(piece: number): { piece: number; offset: number; length: number } {
  return { piece, offset: 0, length: UNIT_BYTES };
}

function open(policy = (): 1 => 1): Compression {
  return new Compression({ clock: new SystemClock(), log: silentLog, policy });
}

/** What becomes of a unit once it had the time to be compressed. */
async function settled(
  compression: Compression,
  source: UnitSource,
  piece: number,
): Promise<Uint8Array | undefined> {
  for (;;) {
    const form = compression.formOf(source, unitOf(piece), slow);
    if (form.kind === 'raw') return undefined;
    if (form.kind === 'compressed') return form.bytes;
    await form.ready;
  }
}

test('Compression compresses a unit once, and gives the same bytes again and to all', async (t) => {
  await using compression = open();
  const source = sourceOf(text);
  compression.expect(source, unitOf(1), slow);
  compression.expect(source, unitOf(1), slow);
  const first = compression.formOf(source, unitOf(1), slow);
  const second = compression.formOf(source, unitOf(1), slow);
  t.is(first.kind, 'coming');
  t.like(second, { kind: 'coming', ready: first.kind === 'coming' ? first.ready : undefined });
  const bytes = await settled(compression, source, 1);
  t.truthy(bytes);
  t.true(
    text
      .subarray(UNIT_BYTES, 2 * UNIT_BYTES)
      .equals(compression.decompress(bytes ?? text, UNIT_BYTES)),
  );
  const { reads } = source;
  t.is(compression.stats.triedBytes, UNIT_BYTES);
  t.true(compression.stats.cachedBytes > 0);
  t.is(await settled(compression, source, 1), bytes);
  t.is(source.reads, reads);
  t.is(compression.stats.triedBytes, UNIT_BYTES);
});

test('Compression leaves alone what has the media type or the first bytes of something compressed', async (t) => {
  const gzip = gzipSync(randomBytes(4 * UNIT_BYTES));
  for (const source of [sourceOf(gzip), sourceOf(text, { mediaType: 'application/gzip' })]) {
    await using compression = open();
    for (const piece of [1, 2, 3]) t.is(await settled(compression, source, piece), undefined);
    t.like(compression.stats, { triedBytes: 0, compressMs: 0 });
    t.true(source.reads <= 16);
  }
});

test('Compression gives up soon on content that does not shrink, when its start is not here', async (t) => {
  await using compression = open();
  const source = sourceOf(randomBytes(200 * UNIT_BYTES), { has: (piece) => piece > 0 });
  for (let piece = 1; piece < 200; piece += 1) {
    t.is(await settled(compression, source, piece), undefined);
  }
  t.true(source.reads <= 10 * UNIT_BYTES, `${source.reads / UNIT_BYTES} units are read`);
});

test('Compression sends raw where the link is not known, or the policy says no', async (t) => {
  await using compression = open();
  const source = sourceOf(text);
  t.is(compression.formOf(source, unitOf(0), undefined).kind, 'raw');
  await using none = new Compression({
    clock: new SystemClock(),
    log: silentLog,
    policy: () => undefined,
  });
  t.is(none.formOf(source, unitOf(0), slow).kind, 'raw');
  t.is(none.stats.triedBytes, 0);
});

test('Compression sends a form that it has wherever it pays, and forgets it when the piece is not had any more', async (t) => {
  await using compression = open();
  const source = sourceOf(text);
  for (const piece of [0, 1]) await settled(compression, source, piece);
  const kindAt = (piece: number, rate?: number): string =>
    compression.formOf(source, unitOf(piece), rate).kind;
  t.is(kindAt(0, slow), 'compressed');
  t.is(kindAt(0), 'compressed');
  t.is(kindAt(0, 4_000_000_000), 'raw');
  compression.forget(source.key, [0]);
  t.is(kindAt(0), 'raw');
  t.is(kindAt(1), 'compressed');
  compression.forget(source.key);
  t.is(kindAt(1), 'raw');
  t.is(compression.stats.cachedBytes, 0);
});

test('Compression sends raw what it cannot read, and stays whole', async (t) => {
  await using compression = open();
  const broken = {
    ...sourceOf(text),
    read: () => {
      throw new CodedError('ERR_STORE_IO', 'the disk is broken');
    },
  };
  t.is(await settled(compression, broken, 1), undefined);
  t.truthy(await settled(compression, { ...sourceOf(text), key: 'other/version' }, 1));
});
