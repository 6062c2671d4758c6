import { randomBytes } from 'node:crypto';
import { zstdCompressSync } from 'node:zlib';
import test from 'ava';
import {
  HandMadePeer,
  HandMadeServer,
  MemoryLog,
  MemorySink,
  MemoryTask,
  startHost,
  task,
  ticketFor,
  version,
} from '../../../test/support/link-hosts.ts';
import { until } from '../../../test/support/until.ts';
import type { HandMadePeer as Peer, TestHost } from '../../../test/support/link-hosts.ts';
import { SystemClock } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import { silentLog } from '../../base/log.ts';
import { Compression } from '../../compression/compression.ts';
import { UNIT_BYTES } from '../../compression/unit.ts';
import { RateLimiter } from '../pacing.ts';
import type { Channel } from './channel.ts';
import { FLAG_LAST, FLAG_MORE, FLAG_ZSTD, frameTypes } from './frame.ts';

const clock = new SystemClock();
const PIECE = 700_000;
/** Of a piece, with a unit that went raw among those that shrank to three quarters. */
const MOST_LEFT = 0.9;

/** Shrinks to three quarters: a unit is many blocks under a low limit. */
function shrinkingText(bytes: number): Buffer {
  return Buffer.from(randomBytes(bytes).toString('base64').slice(0, bytes));
}

interface CompressingHost extends TestHost {
  readonly compression: Compression;
}

async function startCompressing(uploadRate = 0): Promise<CompressingHost> {
  const compression = new Compression({ clock, log: silentLog, policy: () => 1 });
  const uploadLimiter = new RateLimiter(uploadRate, clock);
  const host = await startHost({ compression, uploadLimiter });
  const dispose = async (): Promise<void> => {
    await host.endpoint.close();
    await compression[Symbol.asyncDispose]();
  };
  return { ...host, compression, [Symbol.asyncDispose]: dispose };
}

async function open(parent: TestHost, child: TestHost): Promise<Channel> {
  const link = await child.endpoint.connect(parent.peer);
  return link.open({ task, version, ticket: ticketFor(child.peerId) });
}

/** Takes a piece, which must be right. */
async function take(channel: Channel, served: MemoryTask, piece: number): Promise<Buffer> {
  const sink = new MemorySink(served.lengthOf(piece));
  await channel.fetch({ piece, length: served.lengthOf(piece), sink });
  if (!sink.bytes.equals(served.pieceOf(piece))) throw new Error('wrong bytes');
  return sink.bytes;
}

/** Takes a piece until all of it comes compressed: what is compressed for the first time may go raw meanwhile. */
async function takeCompressed(
  channel: Channel,
  served: MemoryTask,
  about: { readonly piece: number; readonly child: CompressingHost },
): Promise<Buffer> {
  const { piece, child } = about;
  const length = served.lengthOf(piece);
  for (;;) {
    const before = child.endpoint.stats().bytesIn;
    const bytes = await take(channel, served, piece);
    if (child.endpoint.stats().bytesIn - before < MOST_LEFT * length) return bytes;
  }
}

test('a piece goes compressed over a slow link, unit by unit, and comes out as it was', async (t) => {
  await using parent = await startCompressing(20_000_000);
  await using child = await startCompressing();
  const served = new MemoryTask(shrinkingText(2 * PIECE - 12_345), PIECE);
  parent.tasks.set(task, served);
  const channel = await open(parent, child);
  for (const piece of [0, 1]) await takeCompressed(channel, served, { piece, child });
  t.is(parent.compression.stats.savedOutBytes, child.compression.stats.savedInBytes);
  t.is(parent.endpoint.stats().bytesOut, child.endpoint.stats().bytesIn);
  t.is(parent.compression.stats.triedBytes, served.content.length);
});

test('a piece that came compressed is sent on as it came, without being compressed again', async (t) => {
  await using seed = await startCompressing(50_000_000);
  await using relay = await startCompressing();
  await using child = await startCompressing();
  const served = new MemoryTask(shrinkingText(PIECE), PIECE);
  seed.tasks.set(task, served);
  await takeCompressed(await open(seed, relay), served, { piece: 0, child: relay });
  relay.tasks.set(task, served);
  await take(await open(relay, child), served, 0);
  t.is(relay.compression.stats.triedBytes, 0);
  t.is(child.compression.stats.savedInBytes, relay.compression.stats.savedOutBytes);
  t.true(child.endpoint.stats().bytesIn < MOST_LEFT * PIECE);
});

test('a piece that is of use as it comes goes raw, and is handed on before all of it is here', async (t) => {
  await using parent = await startCompressing(5_000_000);
  await using child = await startCompressing();
  const served = new MemoryTask(shrinkingText(PIECE), PIECE);
  parent.tasks.set(task, served);
  const channel = await open(parent, child);
  await takeCompressed(channel, served, { piece: 0, child });
  const before = child.endpoint.stats().bytesIn;
  const parts: number[] = [];
  const sink = new (class extends MemorySink {
    override write(offset: number, chunk: Uint8Array): void {
      parts.push(chunk.length);
      super.write(offset, chunk);
    }
  })(PIECE);
  await channel.fetch({ piece: 0, length: PIECE, sink, isRaw: true });
  t.deepEqual(sink.bytes, served.pieceOf(0));
  t.is(child.endpoint.stats().bytesIn - before, PIECE);
  t.true(Math.max(...parts) < PIECE / 2, parts.join());
});

test('nothing is kept of a piece that turns out to be wrong', async (t) => {
  await using parent = await startCompressing(50_000_000);
  await using child = await startCompressing();
  const served = new MemoryTask(shrinkingText(PIECE), PIECE);
  parent.tasks.set(task, served);
  const channel = await open(parent, child);
  await takeCompressed(channel, served, { piece: 0, child });
  child.compression.forget(`${task}/${version}`);
  const wrong = new CodedError('ERR_PIECE_DIGEST', 'the digest is another');
  const sink = new (class extends MemorySink {
    override finish(): void {
      throw wrong;
    }
  })(PIECE);
  const before = child.compression.stats.savedInBytes;
  await t.throwsAsync(channel.fetch({ piece: 0, length: PIECE, sink }), { is: wrong });
  t.true(child.compression.stats.savedInBytes > before);
  t.is(child.compression.stats.cachedBytes, 0);
});

test('peers that do not say that they take compressed pieces get them raw', async (t) => {
  await using parent = await startCompressing(20_000_000);
  const served = new MemoryTask(shrinkingText(2 * UNIT_BYTES), 2 * UNIT_BYTES);
  parent.tasks.set(task, served);
  await using child = await startHost();
  await take(await open(parent, child), served, 0);
  using older = await HandMadePeer.connect(parent.port);
  const ticket = ticketFor(older.identity.peerId);
  older.send({ type: frameTypes.open, channel: 1 }, JSON.stringify({ task, version, ticket }));
  older.send({ type: frameTypes.request, channel: 1, a: 0, b: 2 * UNIT_BYTES });
  let received = 0;
  while (received < 2 * UNIT_BYTES) {
    const { header, payload } = await older.next(frameTypes.data);
    t.is(header.flags & (FLAG_ZSTD | FLAG_MORE), 0);
    received += payload.length;
  }
  t.like(parent.compression.stats, { savedOutBytes: 0, triedBytes: 0 });
  t.is(parent.endpoint.stats().bytesOut, 4 * UNIT_BYTES);
});

test('a piece is put off in the middle of a unit for one that matters more, and both are right', async (t) => {
  await using parent = await startCompressing(400_000);
  await using child = await startCompressing();
  const served = new MemoryTask(shrinkingText(2 * UNIT_BYTES), UNIT_BYTES);
  parent.tasks.set(task, served);
  const channel = await open(parent, child);
  for (const piece of [0, 1]) await takeCompressed(channel, served, { piece, child });
  const ended: number[] = [];
  const first = take(channel, served, 0).then(() => ended.push(0));
  const began = child.endpoint.stats().bytesIn;
  await until(() => child.endpoint.stats().bytesIn > began);
  const sink = new MemorySink(UNIT_BYTES);
  await channel.fetch({ piece: 1, length: UNIT_BYTES, sink, priority: 'release' });
  ended.push(1);
  await first;
  t.true(sink.bytes.equals(served.pieceOf(1)));
  t.deepEqual(ended, [1, 0]);
});

test('a piece that is cancelled in the middle of a unit can be asked for again at once', async (t) => {
  await using parent = await startCompressing(400_000);
  await using child = await startCompressing();
  const served = new MemoryTask(shrinkingText(UNIT_BYTES), UNIT_BYTES);
  parent.tasks.set(task, served);
  const channel = await open(parent, child);
  await takeCompressed(channel, served, { piece: 0, child });
  for (let round = 0; round < 6; round += 1) {
    const began = child.endpoint.stats().bytesIn;
    const stop = new AbortController();
    const sink = new MemorySink(UNIT_BYTES);
    const aborted = channel.fetch({ piece: 0, length: UNIT_BYTES, sink }, stop);
    await until(() => child.endpoint.stats().bytesIn > began);
    stop.abort();
    await t.throwsAsync(aborted, { code: 'ERR_INTERRUPTED' });
    t.is(sink.aborted, 1);
  }
  await take(channel, served, 0);
  t.is(child.endpoint.stats().links, 1);
});

/** A parent in the hands of the test, and a fetch from it that waits for its bytes. */
async function asked(
  child: TestHost,
  server: HandMadeServer,
  length: number,
): Promise<{
  readonly parent: Peer;
  readonly fetched: Promise<unknown>;
  readonly channel: Channel;
}> {
  const link = await child.endpoint.connect(server.peer);
  const parent = await server.first();
  const opening = link.open({ task, version, ticket: ticketFor(child.peerId) });
  const { header } = await parent.next(frameTypes.open);
  const opened = { type: frameTypes.opened, channel: header.channel, a: 8, b: length };
  parent.send(opened, Buffer.from([0xff]));
  const channel = await opening;
  const fetched = channel.fetch({ piece: 0, length, sink: new MemorySink(length) });
  fetched.catch(() => undefined);
  await parent.next(frameTypes.request);
  return { parent, fetched, channel };
}

const text = Buffer.alloc(UNIT_BYTES, 'a unit of text ');
const frame = zstdCompressSync(text);
const wrongUnits = new Map<string, Buffer>([
  ['a bomb', zstdCompressSync(Buffer.alloc(100 * UNIT_BYTES))],
  ['a frame cut short', frame.subarray(0, -3)],
  ['a frame of another length', zstdCompressSync(text.subarray(1))],
  ['a frame and something behind it', Buffer.concat([frame, Buffer.from('more')])],
  ['a frame with a wrong block', Buffer.concat([frame.subarray(0, 9), randomBytes(40)])],
  ['no frame at all', randomBytes(1_000)],
]);
for (const [what, bytes] of wrongUnits) {
  test(`${what} is a wrong piece of its sender, and nothing worse`, async (t) => {
    await using child = await startCompressing();
    await using server = await HandMadeServer.listen();
    const { parent, fetched, channel } = await asked(child, server, UNIT_BYTES);
    const { number } = channel;
    const flags = FLAG_ZSTD | FLAG_LAST;
    parent.send({ type: frameTypes.data, flags, channel: number }, bytes);
    const error = await t.throwsAsync(fetched, { code: 'ERR_PIECE_DIGEST' });
    t.like(error, { detail: { peer: server.identity.peerId, piece: 0 } });
    t.is(child.compression.stats.cachedBytes, 0);
    await parent.next(frameTypes.cancel);
    parent.send({ type: frameTypes.cancelled, channel: number });
    const again = channel.fetch({ piece: 0, length: UNIT_BYTES, sink: new MemorySink(UNIT_BYTES) });
    parent.send({ type: frameTypes.data, flags, channel: number }, frame);
    await t.notThrowsAsync(again);
  });
}

const breaches = new Map<string, (parent: Peer, channel: number) => void>([
  [
    'a unit longer than raw',
    (parent, channel) => {
      for (let part = 0; part < 2; part += 1) {
        const flags = FLAG_ZSTD | FLAG_MORE;
        parent.send({ type: frameTypes.data, flags, channel }, randomBytes(UNIT_BYTES / 2));
      }
    },
  ],
  [
    'raw bytes in the middle of a unit',
    (parent, channel) => {
      const flags = FLAG_ZSTD | FLAG_MORE;
      parent.send({ type: frameTypes.data, flags, channel }, frame.subarray(0, 10));
      parent.send({ type: frameTypes.data, channel }, randomBytes(10));
    },
  ],
  [
    'a unit where none begins',
    (parent, channel) => {
      parent.send({ type: frameTypes.data, channel }, randomBytes(10));
      parent.send({ type: frameTypes.data, flags: FLAG_ZSTD, channel, b: 10 }, frame);
    },
  ],
  [
    'a unit of another place',
    (parent, channel) => {
      parent.send({ type: frameTypes.data, flags: FLAG_ZSTD, channel, b: UNIT_BYTES }, frame);
    },
  ],
  [
    'a piece that ends too soon',
    (parent, channel) => {
      const flags = FLAG_ZSTD | FLAG_LAST;
      parent.send({ type: frameTypes.data, flags, channel }, frame);
    },
  ],
]);
for (const [what, breach] of breaches) {
  test(`${what} ends the link with ERR_PROTOCOL, and a warning that names the peer`, async (t) => {
    const log = new MemoryLog();
    await using compression = new Compression({ clock, log });
    await using child = await startHost({ compression, log });
    await using server = await HandMadeServer.listen();
    const { parent, fetched, channel } = await asked(child, server, 2 * UNIT_BYTES);
    breach(parent, channel.number);
    await t.throwsAsync(fetched, { code: 'ERR_PROTOCOL' });
    await parent.next(frameTypes.goodbye);
    const peer = server.identity.peerId;
    t.true(log.lines.some(({ level, facts }) => level === 'warn' && facts['peer'] === peer));
  });
}

test('more units that are begun and not ended than there are classes end the link', async (t) => {
  await using child = await startCompressing();
  await using server = await HandMadeServer.listen();
  const { parent, fetched, channel } = await asked(child, server, UNIT_BYTES);
  for (const piece of [1, 2, 3, 4]) {
    const sink = new MemorySink(UNIT_BYTES);
    channel.fetch({ piece, length: UNIT_BYTES, sink }).catch(() => undefined);
  }
  for (const piece of [0, 1, 2, 3, 4]) {
    const flags = FLAG_ZSTD | FLAG_MORE;
    const fields = { type: frameTypes.data, flags, channel: channel.number, a: piece };
    parent.send(fields, frame.subarray(0, 10));
  }
  await t.throwsAsync(fetched, { code: 'ERR_PROTOCOL' });
});

test('compressed bytes end the link of a host that has not asked for them', async (t) => {
  await using child = await startHost();
  await using server = await HandMadeServer.listen();
  const { parent, fetched, channel } = await asked(child, server, UNIT_BYTES);
  parent.send({ type: frameTypes.data, flags: FLAG_ZSTD, channel: channel.number }, frame);
  await t.throwsAsync(fetched, { code: 'ERR_PROTOCOL' });
});
