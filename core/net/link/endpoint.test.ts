import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import test from 'ava';
import {
  HandMadePeer,
  HandMadeServer,
  MemorySink,
  MemoryTask,
  contentOf,
  newIdentity,
  recordOf,
  startHost,
  task,
  ticketFor,
  version,
} from '../../../test/support/link-hosts.ts';
import { until } from '../../../test/support/until.ts';
import type { TestHost } from '../../../test/support/link-hosts.ts';
import { CodedError } from '../../base/error.ts';
import type { Channel, ChannelRequest } from './channel.ts';
import { MAX_BLOCK_BYTES, frameTypes } from './frame.ts';
import type { SentPiece } from './served-channel.ts';

const KIB = 1024;

/** A parent that serves `content`, a child, and the child's channel to it. */
async function openedPair(
  parent: TestHost,
  child: TestHost,
  more: Partial<ChannelRequest> = {},
): Promise<Channel> {
  const link = await child.endpoint.connect(parent.peer);
  return link.open({ task, version, ticket: ticketFor(child.peerId), ...more });
}

async function fetchPiece(
  channel: Channel,
  served: MemoryTask,
  piece: number,
): Promise<MemorySink> {
  const length = served.lengthOf(piece);
  const sink = new MemorySink(length);
  const { bytes } = await channel.fetch({ piece, length, sink });
  if (bytes !== length || sink.finished !== 1 || sink.aborted !== 0) throw new Error('bad ending');
  return sink;
}

for (const encryption of ['tls', 'none'] as const) {
  test(`Channel.fetch() brings pieces intact, many at once (${encryption})`, async (t) => {
    const sent: SentPiece[] = [];
    const onSent = (event: SentPiece): void => void sent.push(event);
    await using parent = await startHost({ encryption, events: { onSent } });
    await using child = await startHost({ encryption });
    const served = new MemoryTask(contentOf(2_500_123), 300_000);
    parent.tasks.set(task, served);
    const channel = await openedPair(parent, child);
    t.is(channel.pieceLength, 300_000);
    t.deepEqual(channel.have.indexes(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    const sinks = await Promise.all(
      channel.have.indexes().map(async (piece) => fetchPiece(channel, served, piece)),
    );
    t.true(Buffer.concat(sinks.map(({ bytes }) => bytes)).equals(served.content));
    t.is(child.endpoint.stats().bytesIn, 2_500_123);
    t.is(parent.endpoint.stats().bytesOut, 2_500_123);
    await until(() => sent.length === 9);
    t.deepEqual(
      sent.map(({ piece, bytes, peerId }) => ({ piece, bytes, peerId })),
      channel.have.indexes().map((piece) => ({
        piece,
        bytes: served.lengthOf(piece),
        peerId: child.peerId,
      })),
    );
  });

  test(`LinkEndpoint.connect() uses the link of a peer that cannot be dialled, in both directions (${encryption})`, async (t) => {
    await using one = await startHost({ encryption });
    await using other = await startHost({ encryption });
    const served = new MemoryTask(contentOf(900_000), 256 * KIB);
    for (const host of [one, other]) host.tasks.set(task, served);
    const there = await openedPair(one, other);
    const back = await openedPair({ ...other, peer: { peerId: other.peerId, addresses: [] } }, one);
    t.is(one.endpoint.stats().links, 1);
    t.is(other.endpoint.stats().links, 1);
    t.is(one.endpoint.stats().channels, 2);
    const sinks = await Promise.all(
      [there, back].flatMap((channel) =>
        [0, 1, 2, 3].map(async (piece) => fetchPiece(channel, served, piece)),
      ),
    );
    for (const [index, { bytes }] of sinks.entries())
      t.true(bytes.equals(served.pieceOf(index % 4)));
  });
}

test('LinkEndpoint.connect() dials beside the link that the peer has dialled, and keeps to its own', async (t) => {
  await using one = await startHost();
  await using other = await startHost();
  await one.endpoint.connect(other.peer);
  await other.endpoint.connect(one.peer);
  await until(() => [one, other].every(({ endpoint }) => endpoint.stats().links === 2));
  t.is((await one.endpoint.connect(other.peer)).side, 'dialler');
  t.is((await other.endpoint.connect(one.peer)).side, 'dialler');
});

test('LinkEndpoint.connect() tries once to dial beside the link of a peer that does not answer', async (t) => {
  await using mute = await HandMadeServer.listen('none', true);
  await using one = await startHost({ limits: { dialBesideMs: 100, handshakeMs: 60_000 } });
  await using other = await startHost();
  await other.endpoint.connect(one.peer);
  await until(() => one.endpoint.stats().links === 1);
  const peer = { peerId: other.peerId, addresses: mute.peer.addresses };
  for (let time = 0; time < 3; time += 1) {
    const back = await one.endpoint.connect(peer);
    t.is(back.side, 'listener');
    t.is(back.peerId, other.peerId);
  }
  t.is(mute.peers.length, 1, 'it was dialled once');
});

test('LinkEndpoint.connect() dials a peer once for all who ask, and keeps the link', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  const links = await Promise.all([1, 2, 3].map(async () => child.endpoint.connect(parent.peer)));
  t.is(new Set(links).size, 1);
  t.true(links.includes(await child.endpoint.connect(parent.peer)));
  t.is(parent.endpoint.stats().links, 1);
  t.is(links[0]?.remoteAddress, parent.peer.addresses[0]);
  t.is(links[0]?.peerId, parent.peerId);
});

test('LinkEndpoint.connect() refuses whoever is not the peer that was dialled', async (t) => {
  for (const encryption of ['tls', 'none'] as const) {
    await using parent = await startHost({ encryption });
    await using child = await startHost({ encryption });
    const { addresses } = parent.peer;
    const other = { peerId: newIdentity().peerId, addresses };
    await t.throwsAsync(child.endpoint.connect(other), { code: 'ERR_NOT_MEMBER' });
    await until(() => parent.endpoint.stats().unauthenticated === 0);
    t.is(parent.endpoint.stats().links, 0);
    const itself = { peerId: child.peerId, addresses };
    await t.throwsAsync(child.endpoint.connect(itself), { code: 'ERR_LINK' });
  }
});

test('LinkEndpoint.connect() finds the peer behind another address when one leads elsewhere', async (t) => {
  await using stranger = await startHost();
  await using parent = await startHost();
  await using child = await startHost();
  const addresses = [...stranger.peer.addresses, '127.0.0.1:1', ...parent.peer.addresses];
  const link = await child.endpoint.connect({ peerId: parent.peerId, addresses });
  t.deepEqual([link.remoteAddress], parent.peer.addresses);
});

function recordOfSomebodyElse(): string {
  return recordOf('somebody-else');
}

test('LinkEndpoint refuses a peer without a valid record, whichever side it is', async (t) => {
  for (const encryption of ['tls', 'none'] as const) {
    await using parent = await startHost({ encryption });
    await using outsider = await startHost({ encryption, record: recordOfSomebodyElse });
    await t.throwsAsync(outsider.endpoint.connect(parent.peer), { code: 'ERR_NOT_MEMBER' });
    await t.throwsAsync(parent.endpoint.connect(outsider.peer), { code: 'ERR_NOT_MEMBER' });
    t.is(parent.endpoint.stats().links, 0);
    // The listener proves itself last: it holds the link until the dialler's goodbye comes.
    await until(() => outsider.endpoint.stats().links === 0);
  }
});

test('LinkEndpoint refuses a connection without a certificate', async (t) => {
  await using parent = await startHost();
  const socket = connectTls({ host: '127.0.0.1', port: parent.port, rejectUnauthorized: false });
  socket.on('error', () => undefined);
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve));
  t.is(parent.endpoint.stats().refused, 1);
  t.is(parent.endpoint.stats().links, 0);
});

test('LinkEndpoint.connect() fails soon when nobody is there, or nobody who speaks as we do', async (t) => {
  await using clear = await startHost({ encryption: 'none' });
  await using child = await startHost();
  const nobody = { peerId: clear.peerId, addresses: ['127.0.0.1:1'] };
  await t.throwsAsync(child.endpoint.connect(nobody), { code: 'ERR_LINK' });
  await t.throwsAsync(child.endpoint.connect(clear.peer), { code: 'ERR_LINK' });
  await t.throwsAsync(clear.endpoint.connect(child.peer), { code: 'ERR_LINK' });
});

test('LinkEndpoint.connect() stops at the abort, with its reason', async (t) => {
  await using child = await startHost();
  await using parent = await startHost();
  const controller = new AbortController();
  const connecting = child.endpoint.connect(parent.peer, { signal: controller.signal });
  controller.abort(new DOMException('too late', 'TimeoutError'));
  await t.throwsAsync(connecting, { code: 'ERR_TIMEOUT' });
  const { signal } = controller;
  await t.throwsAsync(child.endpoint.connect(parent.peer, { signal }), { code: 'ERR_TIMEOUT' });
});

test('Link.open() needs a ticket for this child, task and version', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  parent.tasks.set(task, new MemoryTask(contentOf(10), 10));
  const link = await child.endpoint.connect(parent.peer);
  const other = 'c'.repeat(64);
  const wrong = [
    ticketFor(newIdentity().peerId),
    ticketFor(child.peerId, { task: other, version }),
    ticketFor(child.peerId, { task, version: 'd'.repeat(16) }),
    'nonsense',
  ];
  for (const ticket of wrong) {
    await t.throwsAsync(link.open({ task, version, ticket }), { code: 'ERR_TICKET' });
  }
  const unknown = {
    task: other,
    version,
    ticket: ticketFor(child.peerId, { task: other, version }),
  };
  await t.throwsAsync(link.open(unknown), { code: 'ERR_NOT_FOUND' });
  const channel = await link.open({ task, version, ticket: ticketFor(child.peerId) });
  t.true(channel.isOpen);
  t.is(parent.endpoint.stats().refused, 5);
});

test('Link.open() is refused past the limit of channels, and a closed one makes room', async (t) => {
  await using parent = await startHost({ limits: { maxChannels: 2 } });
  await using child = await startHost();
  parent.tasks.set(task, new MemoryTask(contentOf(10), 10));
  const link = await child.endpoint.connect(parent.peer);
  const request = { task, version, ticket: ticketFor(child.peerId) };
  const first = await link.open(request);
  await link.open(request);
  await t.throwsAsync(link.open(request), { code: 'ERR_BUSY' });
  first.close();
  t.is(await first.closed, undefined);
  const third = await link.open(request);
  t.true(third.isOpen);
  t.is(parent.endpoint.stats().channels, 2);
});

test('Link.open() that is aborted leaves no channel behind', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  parent.tasks.set(task, new MemoryTask(contentOf(10), 10));
  const link = await child.endpoint.connect(parent.peer);
  const controller = new AbortController();
  const request = { task, version, ticket: ticketFor(child.peerId) };
  const opening = link.open(request, { signal: controller.signal });
  controller.abort();
  await t.throwsAsync(opening, { code: 'ERR_INTERRUPTED' });
  await until(() => link.isIdle && parent.endpoint.stats().channels === 0);
  const channel = await link.open(request);
  t.true(channel.has(0));
});

test('LinkEndpoint.announce() and retract() reach those who opened the task, or the one named', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  await using other = await startHost();
  const served = new MemoryTask(contentOf(100), 10, { isEmpty: true });
  served.pieces.set(7);
  parent.tasks.set(task, served);
  const heard: unknown[] = [];
  const channel = await openedPair(parent, child, {
    onHave: (pieces) => heard.push({ have: pieces }),
    onUnhave: (pieces) => heard.push({ unhave: pieces }),
  });
  const others = await openedPair(parent, other);
  t.deepEqual(channel.have.indexes(), [7]);
  parent.endpoint.announce({ task, version, pieces: [1, 2] });
  parent.endpoint.announce({ task, version, pieces: [5], to: child.peerId });
  parent.endpoint.announce({ task, version: 'e'.repeat(16), pieces: [9] });
  parent.endpoint.retract({ task, version, pieces: [7] });
  await until(() => heard.length === 3 && !others.has(7));
  const idle = { load: 0 };
  t.deepEqual(heard, [
    { have: { pieces: [1, 2], isOffer: false, ...idle } },
    { have: { pieces: [5], isOffer: true, ...idle } },
    { unhave: [7] },
  ]);
  t.deepEqual(channel.have.indexes(), [1, 2, 5]);
  t.deepEqual(others.have.indexes(), [1, 2]);
});

test('Channel takes announcements of a task whose length is unknown', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  const served = new MemoryTask(contentOf(4000), 1, { isEmpty: true });
  served.isLengthKnown = false;
  parent.tasks.set(task, served);
  const channel = await openedPair(parent, child);
  t.is(channel.have.pieceCount, undefined);
  served.pieces.set(3999);
  parent.endpoint.announce({ task, version, pieces: [3999, 500_000] });
  await until(() => channel.has(500_000));
  const sink = await fetchPiece(channel, served, 3999);
  t.is(sink.bytes[0], served.content[3999]);
});

test('manifest batches are asked for, offered, and passed back', async (t) => {
  const passedBack: unknown[] = [];
  await using parent = await startHost({
    events: { onOffered: (offered) => void passedBack.push(offered) },
  });
  await using child = await startHost();
  const served = new MemoryTask(contentOf(10), 10);
  served.batches.push(
    ...Array.from({ length: 300 }, (_, at) => `v1.manifest.${at}${'m'.repeat(3000)}`),
  );
  parent.tasks.set(task, served);
  const heard: string[] = [];
  const channel = await openedPair(parent, child, {
    onManifest: (batches) => heard.push(...batches),
  });
  channel.askManifest();
  await until(() => heard.length === 300);
  t.deepEqual(heard, served.batches);
  parent.endpoint.offerManifest({ task, version, batches: ['v1.manifest.new'] });
  await until(() => heard.length === 301);
  t.is(heard.at(-1), 'v1.manifest.new');
  channel.sendManifest(['v1.provisional.mine']);
  await until(() => passedBack.length === 1);
  t.deepEqual(passedBack, [
    { peerId: child.peerId, task, version, batches: ['v1.provisional.mine'] },
  ]);
});

test('Channel.fetch() says why a piece is not sent, and the link goes on', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  const served = new MemoryTask(contentOf(100), 10);
  served.pieces.clear(4);
  const read = served.read.bind(served);
  served.read = (piece, offset, target) => {
    if (piece === 6) throw new CodedError('ERR_STORE_IO', 'the disk is broken');
    return read(piece, offset, target);
  };
  parent.tasks.set(task, served);
  const channel = await openedPair(parent, child);
  const refused = async (piece: number, length = 10): Promise<string> => {
    const sink = new MemorySink(10);
    const error = await t.throwsAsync(channel.fetch({ piece, length, sink }));
    t.is(sink.aborted, 1);
    t.is(sink.finished, 0);
    return CodedError.from(error).code;
  };
  t.is(await refused(4), 'ERR_NOT_FOUND');
  t.is(await refused(10), 'ERR_NOT_FOUND');
  t.is(await refused(1, 9), 'ERR_MANIFEST');
  t.is(await refused(1, 0), 'ERR_MANIFEST');
  t.is(await refused(6), 'ERR_STORE_IO');
  const sink = await fetchPiece(channel, served, 1);
  t.deepEqual(sink.bytes, served.pieceOf(1));
});

function gone(): never {
  throw new CodedError('ERR_NOT_FOUND', 'the task is dropped');
}

test('a task that goes away while it is served is refused with its code, and the link goes on', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  const served = new MemoryTask(contentOf(100), 10);
  parent.tasks.set(task, served);
  const channel = await openedPair(parent, child);
  served.has = gone;
  served.manifest = gone;
  const fetching = channel.fetch({ piece: 0, length: 10, sink: new MemorySink(10) });
  await t.throwsAsync(fetching, { code: 'ERR_NOT_FOUND' });
  channel.askManifest();
  t.is((await channel.closed)?.code, 'ERR_NOT_FOUND');
  served.haveMap = gone;
  await t.throwsAsync(openedPair(parent, child), { code: 'ERR_NOT_FOUND' });
  t.is(parent.endpoint.stats().links, 1);
  t.is(parent.endpoint.stats().channels, 0);
});

test('Channel.fetch() is told when to come back once the queue of its link is full', async (t) => {
  await using parent = await startHost({ limits: { maxQueuedRequests: 3 } });
  await using child = await startHost();
  const served = new MemoryTask(contentOf(4_000_000), 1_000_000);
  parent.tasks.set(task, served);
  const channel = await openedPair(parent, child);
  const results = await Promise.allSettled(
    [0, 1, 2, 3].map(async (piece) => fetchPiece(channel, served, piece)),
  );
  t.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'fulfilled', 'rejected'],
  );
  const [, , , last] = results;
  const error = CodedError.from(last?.status === 'rejected' ? last.reason : undefined);
  t.is(error.code, 'ERR_BUSY');
  t.true(Number(error.detail['retryAfterMs']) >= 100);
});

test('an aborted fetch is cancelled at the parent, its late bytes are counted, and the piece can be fetched again', async (t) => {
  const late: number[] = [];
  await using parent = await startHost();
  await using child = await startHost({
    events: { onLateBytes: ({ bytes }) => void late.push(bytes) },
  });
  const served = new MemoryTask(contentOf(64 * MAX_BLOCK_BYTES), 32 * MAX_BLOCK_BYTES);
  parent.tasks.set(task, served);
  const channel = await openedPair(parent, child);
  const length = served.lengthOf(0);
  const controller = new AbortController();
  const sink = new MemorySink(length);
  const write = sink.write.bind(sink);
  sink.write = (offset, chunk) => {
    write(offset, chunk);
    controller.abort();
  };
  const { signal } = controller;
  await t.throwsAsync(channel.fetch({ piece: 0, length, sink }, { signal }), {
    code: 'ERR_INTERRUPTED',
  });
  const again = await fetchPiece(channel, served, 0);
  t.true(again.bytes.equals(served.pieceOf(0)));
  t.is(sink.aborted, 1);
  t.is(sink.finished, 0);
  t.true(sink.written < length);
  const { duplicateBytes, bytesIn } = child.endpoint.stats();
  t.is(
    duplicateBytes,
    late.reduce((sum, bytes) => sum + bytes, 0),
  );
  t.is(bytesIn, sink.written + length);
  t.true(parent.endpoint.stats().bytesOut < 2 * length);
  await t.throwsAsync(channel.fetch({ piece: 1, length, sink: new MemorySink(1) }, { signal }), {
    code: 'ERR_INTERRUPTED',
  });
});

test('Channel.takeBack() takes a request out of the line of the parent, and leaves one whose bytes are on the way', async (t) => {
  let wasted = 0;
  await using parent = await startHost();
  await using child = await startHost();
  const served = new MemoryTask(contentOf(12 * MAX_BLOCK_BYTES), 4 * MAX_BLOCK_BYTES);
  parent.tasks.set(task, served);
  const channel = await openedPair(parent, child, { onWasted: (bytes) => (wasted += bytes) });
  const fetches = Promise.allSettled(
    [0, 1, 2].map(async (piece) => fetchPiece(channel, served, piece)),
  );
  const first = channel.takeBack(0);
  const last = channel.takeBack(2);
  t.deepEqual(await Promise.all([first, last, channel.takeBack(2)]), [false, true, true]);
  const [zero, one, two] = await fetches;
  t.is(zero?.status, 'fulfilled');
  t.is(one?.status, 'fulfilled');
  t.is(two?.status === 'rejected' && CodedError.from(two.reason).code, 'ERR_INTERRUPTED');
  t.false(await channel.takeBack(0));
  t.true((await fetchPiece(channel, served, 2)).bytes.equals(served.pieceOf(2)));
  t.is(wasted, 0);
  t.is(parent.endpoint.stats().bytesOut, 12 * MAX_BLOCK_BYTES);
});

test('Channel.fetch() rejects with what its sink throws, and the link goes on', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  const served = new MemoryTask(contentOf(8_000_000), 4_000_000);
  parent.tasks.set(task, served);
  const channel = await openedPair(parent, child);
  const length = served.lengthOf(0);
  const full = new MemorySink(length);
  full.write = () => {
    throw new CodedError('ERR_NO_SPACE', 'the disk is full');
  };
  await t.throwsAsync(channel.fetch({ piece: 0, length, sink: full }), { code: 'ERR_NO_SPACE' });
  t.is(full.aborted, 1);
  const wrong = new MemorySink(length);
  wrong.finish = () => {
    throw new CodedError('ERR_PIECE_DIGEST', 'the piece is wrong');
  };
  await t.throwsAsync(channel.fetch({ piece: 1, length, sink: wrong }), {
    code: 'ERR_PIECE_DIGEST',
  });
  t.is(wrong.aborted, 0);
  const sink = await fetchPiece(channel, served, 0);
  t.true(sink.bytes.equals(served.pieceOf(0)));
});

test('Channel.fetch() of a piece under way on the channel is refused', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  const served = new MemoryTask(contentOf(1_000_000), 1_000_000);
  parent.tasks.set(task, served);
  const channel = await openedPair(parent, child);
  const first = fetchPiece(channel, served, 0);
  const sink = new MemorySink(1);
  const second = channel.fetch({ piece: 0, length: 1_000_000, sink });
  await t.throwsAsync(second, { code: 'ERR_BUSY' });
  t.is(sink.aborted, 1);
  t.is((await first).finished, 1);
});

test('Channel.close() fails its fetches alone', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  const served = new MemoryTask(contentOf(16_000_000), 8_000_000);
  parent.tasks.set(task, served);
  const closing = await openedPair(parent, child);
  const staying = await openedPair(parent, child);
  const sink = new MemorySink(8_000_000);
  const cut = closing.fetch({ piece: 0, length: 8_000_000, sink });
  const whole = fetchPiece(staying, served, 1);
  closing.close();
  closing.close();
  await t.throwsAsync(cut, { code: 'ERR_LINK' });
  t.is(sink.aborted, 1);
  t.is(await closing.closed, undefined);
  t.true((await whole).bytes.equals(served.pieceOf(1)));
  await until(() => parent.endpoint.stats().channels === 1);
});

test('LinkEndpoint.withdraw() closes the channels of others on the task', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  parent.tasks.set(task, new MemoryTask(contentOf(10), 10));
  const channel = await openedPair(parent, child);
  parent.endpoint.withdraw({ task, version });
  const error = await channel.closed;
  t.is(error?.code, 'ERR_NOT_FOUND');
  await t.throwsAsync(channel.fetch({ piece: 0, length: 10, sink: new MemorySink(10) }), {
    code: 'ERR_LINK',
  });
  await until(() => parent.endpoint.stats().channels + child.endpoint.stats().channels === 0);
  t.is(child.endpoint.stats().links, 1);
});

test('Link.close() ends the channels on both sides and says why', async (t) => {
  const closed: string[] = [];
  await using parent = await startHost({
    events: { onLinkClosed: (link, error) => void closed.push(`${link.peerId} ${error.code}`) },
  });
  await using child = await startHost();
  const served = new MemoryTask(contentOf(8_000_000), 8_000_000);
  parent.tasks.set(task, served);
  const channel = await openedPair(parent, child);
  const fetching = channel.fetch({ piece: 0, length: 8_000_000, sink: new MemorySink(8_000_000) });
  const [link] = child.endpoint.links();
  link?.close(new CodedError('ERR_NOT_MEMBER', 'go away'));
  await t.throwsAsync(fetching, { code: 'ERR_NOT_MEMBER' });
  t.is((await channel.closed)?.code, 'ERR_NOT_MEMBER');
  t.is((await link?.closed)?.code, 'ERR_NOT_MEMBER');
  await until(() => parent.endpoint.stats().links === 0);
  t.deepEqual(closed, [`${child.peerId} ERR_NOT_MEMBER`]);
  await t.throwsAsync(link?.open({ task, version, ticket: 'x' }) ?? Promise.resolve(), {
    code: 'ERR_LINK',
  });
});

test('LinkEndpoint.close() ends links, dials and strangers, and is done when the sockets are', async (t) => {
  const parent = await startHost();
  await using child = await startHost();
  const stranger = connect({ host: '127.0.0.1', port: parent.port });
  stranger.on('error', () => undefined);
  const link = await child.endpoint.connect(parent.peer);
  await until(() => parent.endpoint.stats().unauthenticated === 1);
  await parent.endpoint.close();
  await parent.endpoint.close();
  t.is((await link.closed).code, 'ERR_LINK');
  await until(() => stranger.destroyed);
  await t.throwsAsync(parent.endpoint.connect(child.peer), { code: 'ERR_LINK' });
  await t.throwsAsync(child.endpoint.connect(parent.peer), { code: 'ERR_LINK' });
});

test('LinkEndpoint.listen() notices a taken port, and shares one that is meant to be shared', async (t) => {
  await using first = await startHost();
  await using second = await startHost();
  const { port } = await first.endpoint.listen({ host: '127.0.0.1', port: 0, reusePort: true });
  t.deepEqual(await second.endpoint.listen({ host: '127.0.0.1', port, reusePort: true }), { port });
  const taken = { host: '127.0.0.1', port: first.port };
  await t.throwsAsync(second.endpoint.listen(taken), { code: 'ERR_ADDRESS_IN_USE' });
  const elsewhere = { host: '192.0.2.1', port: 0 };
  await t.throwsAsync(second.endpoint.listen(elsewhere), { code: 'ERR_LINK' });
});

test('LinkEndpoint.recheck() drops former members and expired tickets, and honours renewed ones', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  parent.tasks.set(task, new MemoryTask(contentOf(10), 10));
  parent.tasks.set('c'.repeat(64), new MemoryTask(contentOf(10), 10));
  const about = { task: 'c'.repeat(64), version };
  const expiring = await openedPair(parent, child);
  const old = ticketFor(child.peerId, about);
  const renewed = await openedPair(parent, child, { ...about, ticket: old });
  parent.trust.expired.add(ticketFor(child.peerId));
  parent.endpoint.recheck();
  t.is((await expiring.closed)?.code, 'ERR_TICKET');
  parent.trust.expired.add(old);
  parent.trust.verifyTicket = (ticket) => {
    if (ticket !== 'renewed') throw new CodedError('ERR_TICKET', 'expired');
  };
  renewed.renew('renewed');
  renewed.askManifest();
  await fetchPiece(renewed, new MemoryTask(contentOf(10), 10), 0);
  parent.endpoint.recheck();
  t.true(renewed.isOpen);
  parent.trust.revoked.add(child.peerId);
  parent.endpoint.recheck();
  t.is((await renewed.closed)?.code, 'ERR_NOT_MEMBER');
  t.is(parent.endpoint.stats().links, 0);
  await t.throwsAsync(child.endpoint.connect(parent.peer), { code: 'ERR_NOT_MEMBER' });
});

test('LinkEndpoint refuses strangers past its limit, and members get in once there is room', async (t) => {
  await using parent = await startHost({ limits: { maxUnauthenticated: 2 } });
  await using child = await startHost();
  const strangers = [1, 2, 3].map(() => connect({ host: '127.0.0.1', port: parent.port }));
  for (const stranger of strangers) stranger.on('error', () => undefined).resume();
  await until(() => strangers.filter(({ destroyed }) => destroyed).length === 1);
  t.is(parent.endpoint.stats().unauthenticated, 2);
  await t.throwsAsync(child.endpoint.connect(parent.peer), { code: 'ERR_LINK' });
  for (const stranger of strangers) stranger.destroy();
  await until(() => parent.endpoint.stats().unauthenticated === 0);
  const link = await child.endpoint.connect(parent.peer);
  t.false(link.isClosed);
});

test('LinkEndpoint drops connections that do not authenticate in time', async (t) => {
  for (const encryption of ['tls', 'none'] as const) {
    await using parent = await startHost({ encryption, limits: { handshakeMs: 500 } });
    const silent = connect({ host: '127.0.0.1', port: parent.port });
    silent.on('error', () => undefined).resume();
    using mute = await HandMadePeer.connect(parent.port, { encryption, isMute: true });
    mute.socket.resume();
    await until(() => silent.destroyed && mute.isClosed);
    await until(() => parent.endpoint.stats().unauthenticated === 0);
    t.is(parent.endpoint.stats().links, 0);
  }
});

test('LinkEndpoint gives up a dial whose peer does not authenticate in time', async (t) => {
  for (const encryption of ['tls', 'none'] as const) {
    await using child = await startHost({ encryption, limits: { handshakeMs: 500 } });
    await using mute = await HandMadeServer.listen(encryption, true);
    await t.throwsAsync(child.endpoint.connect(mute.peer), { code: 'ERR_LINK' });
  }
});

test('LinkEndpoint makes room for a link by closing an idle one, and refuses when all are in use', async (t) => {
  await using parent = await startHost({ limits: { maxLinks: 1 } });
  await using idle = await startHost();
  await using busy = await startHost();
  await using third = await startHost();
  parent.tasks.set(task, new MemoryTask(contentOf(10), 10));
  const first = await idle.endpoint.connect(parent.peer);
  const channel = await openedPair(parent, busy);
  t.is((await first.closed).code, 'ERR_BUSY');
  await t.throwsAsync(third.endpoint.connect(parent.peer), { code: 'ERR_BUSY' });
  await t.throwsAsync(parent.endpoint.connect(third.peer), { code: 'ERR_BUSY' });
  t.true(channel.isOpen);
});

test('LinkEndpoint holds so many links of one peer', async (t) => {
  await using parent = await startHost({ limits: { maxLinksPerPeer: 2 } });
  const identity = newIdentity();
  using first = await HandMadePeer.connect(parent.port, { identity });
  using second = await HandMadePeer.connect(parent.port, { identity });
  using third = await HandMadePeer.connect(parent.port, { identity });
  t.deepEqual(
    [first, second, third].map(({ isReady }) => isReady),
    [true, true, false],
  );
  first.send({ type: frameTypes.goodbye }, 'ERR_LINK');
  await until(() => parent.endpoint.stats().links === 1);
  using fourth = await HandMadePeer.connect(parent.port, { identity });
  t.true(fourth.isReady);
});
