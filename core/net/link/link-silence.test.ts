import test from 'ava';
import {
  HandMadeServer,
  MemorySink,
  MemoryTask,
  contentOf,
  startHost,
  task,
  ticketFor,
  version,
} from '../../../test/support/link-hosts.ts';
import { until } from '../../../test/support/until.ts';
import type { HandMadePeer, TestHost } from '../../../test/support/link-hosts.ts';
import { CodedError } from '../../base/error.ts';
import type { Channel } from './channel.ts';
import {
  FLAG_LAST,
  FRAME_HEADER_BYTES,
  MAX_BLOCK_BYTES,
  encodeFrame,
  frameTypes,
} from './frame.ts';

const quick = { tickMs: 20, lagMs: 100, pingAfterMs: 60, silentMs: 400 };

/** A child with a channel to a parent in the hands of the test. */
async function open(
  server: HandMadeServer,
  child: TestHost,
): Promise<{ channel: Channel; parent: HandMadePeer }> {
  const link = await child.endpoint.connect(server.peer);
  const parent = await server.first();
  const opening = link.open({ task, version, ticket: ticketFor(child.peerId) });
  await parent.next(frameTypes.open);
  parent.send({ type: frameTypes.opened, channel: 1, a: 8, b: 10 }, Uint8Array.of(0xff));
  return { channel: await opening, parent };
}

test('a link whose peer owes an answer and is silent is pinged, then closed with ERR_LINK', async (t) => {
  await using server = await HandMadeServer.listen();
  await using child = await startHost({ limits: quick });
  const { channel, parent } = await open(server, child);
  const sink = new MemorySink(10);
  const fetching = channel.fetch({ piece: 0, length: 10, sink });
  await parent.next(frameTypes.ping);
  const error = CodedError.from(await t.throwsAsync(fetching));
  t.is(error.code, 'ERR_LINK');
  t.is(error.detail['reason'], 'silent');
  t.is(sink.aborted, 1);
  t.is(child.endpoint.stats().links, 0);
});

test('a link whose peer is silent while it answers OPEN is closed as well', async (t) => {
  await using server = await HandMadeServer.listen();
  await using child = await startHost({ limits: quick });
  const link = await child.endpoint.connect(server.peer);
  const opening = link.open({ task, version, ticket: ticketFor(child.peerId) });
  await t.throwsAsync(opening, { code: 'ERR_LINK' });
});

test('a peer that answers pings may take its time', async (t) => {
  await using server = await HandMadeServer.listen();
  await using child = await startHost({ limits: quick });
  const { channel, parent } = await open(server, child);
  const sink = new MemorySink(10);
  const fetching = channel.fetch({ piece: 0, length: 10, sink });
  for (let round = 0; round < 8; round += 1) {
    const { header } = await parent.next(frameTypes.ping);
    parent.send({ type: frameTypes.pong, a: header.a });
  }
  parent.send({ type: frameTypes.data, flags: FLAG_LAST, channel: 1 }, Buffer.alloc(10, 7));
  t.is((await fetching).bytes, 10);
  t.is(sink.bytes[9], 7);
});

test('a peer whose answer comes slowly is not silent, and what came is handed on', async (t) => {
  await using server = await HandMadeServer.listen();
  await using child = await startHost({ limits: quick });
  const { channel, parent } = await open(server, child);
  const length = MAX_BLOCK_BYTES;
  const sink = new MemorySink(length);
  const fetching = channel.fetch({ piece: 0, length, sink });
  const payload = contentOf(length);
  const frame = encodeFrame({ type: frameTypes.data, flags: FLAG_LAST, channel: 1 }, payload);
  let sent = 1000;
  parent.socket.write(frame.subarray(0, sent));
  const begun = performance.now();
  while (performance.now() - begun < 3 * quick.silentMs && channel.isOpen) {
    await until(() => sink.written === sent - FRAME_HEADER_BYTES || !channel.isOpen);
    // Neither whole nor a part that is worth a write.
    parent.socket.write(frame.subarray(sent, sent + 10));
    sent += 10;
  }
  parent.socket.write(frame.subarray(sent));
  t.is((await fetching).bytes, length);
  t.deepEqual(sink.bytes, payload);
});

test('LinkEndpoint answers pings', async (t) => {
  await using server = await HandMadeServer.listen();
  await using child = await startHost();
  await child.endpoint.connect(server.peer);
  const parent = await server.first();
  parent.send({ type: frameTypes.ping, a: 77 });
  t.is((await parent.next(frameTypes.pong)).header.a, 77);
});

test('silence while our own thread was stuck does not count', async (t) => {
  await using server = await HandMadeServer.listen();
  await using child = await startHost({ limits: quick });
  const { channel, parent } = await open(server, child);
  const fetching = channel.fetch({ piece: 0, length: 10, sink: new MemorySink(10) });
  await parent.next(frameTypes.request);
  const stuck = new Int32Array(new SharedArrayBuffer(4));
  Atomics.wait(stuck, 0, 0, 1000);
  parent.send({ type: frameTypes.data, flags: FLAG_LAST, channel: 1 }, Buffer.alloc(10));
  t.is((await fetching).bytes, 10);
});

test('a link without channels is closed when it has been idle, on both sides', async (t) => {
  await using parent = await startHost();
  await using child = await startHost({ limits: { ...quick, idleMs: 200 } });
  parent.tasks.set(task, new MemoryTask(contentOf(10), 10));
  const link = await child.endpoint.connect(parent.peer);
  const channel = await link.open({ task, version, ticket: ticketFor(child.peerId) });
  const begun = performance.now();
  await until(() => performance.now() - begun > 400);
  t.false(link.isClosed);
  channel.close();
  t.is((await link.closed).code, 'ERR_LINK');
  await until(() => parent.endpoint.stats().links === 0);
  t.is(child.endpoint.stats().links, 0);
});

test('a link whose connection is cut fails what is under way at once', async (t) => {
  await using server = await HandMadeServer.listen();
  await using child = await startHost();
  const { channel, parent } = await open(server, child);
  const fetching = channel.fetch({ piece: 0, length: 10, sink: new MemorySink(10) });
  await parent.next(frameTypes.request);
  parent.socket.destroy();
  await t.throwsAsync(fetching, { code: 'ERR_LINK' });
  t.is((await channel.closed)?.code, 'ERR_LINK');
});
