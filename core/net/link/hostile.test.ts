import { once } from 'node:events';
import { Socket, connect } from 'node:net';
import test from 'ava';
import * as fc from 'fast-check';
import {
  HandMadePeer,
  HandMadeServer,
  MemoryLog,
  MemorySink,
  MemoryTask,
  contentOf,
  startHost,
  task,
  ticketFor,
  version,
} from '../../../test/support/link-hosts.ts';
import { until } from '../../../test/support/until.ts';
import type { TestHost } from '../../../test/support/link-hosts.ts';
import { CodedError } from '../../base/error.ts';
import type { Channel, ChannelRequest } from './channel.ts';
import {
  FLAG_BEING_SENT,
  FLAG_IF_WAITING,
  FLAG_LAST,
  FLAG_OPTIONAL,
  encodeFrame,
  frameTypes,
  writeHeader,
} from './frame.ts';
import type { FrameFields } from './frame.ts';
import { encodeIndexes } from './messages.ts';

const served = new MemoryTask(contentOf(100_000), 10_000);

/** Asserts that a host still serves a well-behaved peer over a link it had before. */
async function wellBehaved(parent: TestHost, child: TestHost): Promise<() => Promise<void>> {
  parent.tasks.set(task, served);
  const link = await child.endpoint.connect(parent.peer);
  const channel = await link.open({ task, version, ticket: ticketFor(child.peerId) });
  return async () => {
    const sink = new MemorySink(10_000);
    await channel.fetch({ piece: 3, length: 10_000, sink });
    if (!sink.bytes.equals(served.pieceOf(3))) throw new Error('wrong bytes');
  };
}

/** Sends bytes and waits until they are read, or refused. */
async function pour(socket: Socket, chunks: readonly Uint8Array[]): Promise<void> {
  socket.on('error', () => undefined).resume();
  for (const chunk of chunks) if (socket.writable) socket.write(chunk);
  const closed = socket.destroyed ? Promise.resolve() : once(socket, 'close');
  socket.end();
  await closed;
}

for (const encryption of ['tls', 'none'] as const) {
  test(`random bytes from strangers harm nobody (${encryption})`, async (t) => {
    await using parent = await startHost({ encryption });
    await using child = await startHost({ encryption });
    const check = await wellBehaved(parent, child);
    const chunks = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(chunks, fc.boolean(), async (bytes, isEncrypted) => {
        if (isEncrypted) {
          using peer = await HandMadePeer.connect(parent.port, { encryption, isMute: true });
          await pour(peer.socket, bytes);
        } else {
          const socket = connect({ host: '127.0.0.1', port: parent.port });
          await pour(socket, bytes);
        }
        await check();
      }),
      { numRuns: 40 },
    );
    await until(() => parent.endpoint.stats().unauthenticated === 0);
    t.is(parent.endpoint.stats().links, 1);
  });

  test(`mutated frames from members harm nobody else (${encryption})`, async (t) => {
    await using parent = await startHost({ encryption });
    await using child = await startHost({ encryption });
    const check = await wellBehaved(parent, child);
    const types = fc.oneof(fc.constantFrom(...Object.values(frameTypes)), fc.nat(255));
    const small = fc.oneof(fc.nat(12), fc.integer({ min: 0, max: 0xffff_ffff }));
    const frame = fc
      .record({
        type: types,
        flags: fc.constantFrom(0, 1, FLAG_OPTIONAL, 0xff),
        channel: fc.oneof(fc.nat(4), fc.nat(65_535)),
        a: small,
        b: fc.oneof(fc.constant(10_000), small),
        payload: fc.uint8Array({ maxLength: 64 }),
      })
      .map(({ payload, ...fields }) => encodeFrame(fields, payload));
    const flips = fc.array(fc.tuple(fc.nat(2000), fc.nat(255)), { maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { maxLength: 12 }), flips, async (frames, changes) => {
        using peer = await HandMadePeer.connect(parent.port, { encryption });
        const ticket = ticketFor(peer.identity.peerId);
        const open = JSON.stringify({ task, version, ticket });
        const stream = Buffer.concat([
          encodeFrame({ type: frameTypes.open, channel: 1 }, open),
          encodeFrame({ type: frameTypes.request, channel: 1, a: 2, b: 10_000 }),
          ...frames,
        ]);
        for (const [at, value] of changes) {
          if (at < stream.length) stream.writeUInt8(value, at);
        }
        await pour(peer.socket, [stream]);
        await check();
      }),
      { numRuns: 60 },
    );
    await until(() => parent.endpoint.stats().links === 1);
    t.is(parent.endpoint.stats().queuedRequests, 0);
  });
}

test('mutated frames from a parent harm no other link of the child', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  const check = await wellBehaved(parent, child);
  await using server = await HandMadeServer.listen();
  const frame = fc
    .record({
      type: fc.oneof(fc.constantFrom(...Object.values(frameTypes)), fc.nat(255)),
      flags: fc.constantFrom(0, 1, FLAG_OPTIONAL),
      channel: fc.oneof(fc.constant(1), fc.nat(4)),
      a: fc.oneof(fc.nat(9), fc.integer({ min: 0, max: 0xffff_ffff })),
      b: fc.oneof(fc.nat(12), fc.integer({ min: 0, max: 0xffff_ffff })),
      payload: fc.oneof(fc.uint8Array({ maxLength: 16 }), fc.uint8Array({ maxLength: 70_000 })),
    })
    .map(({ payload, ...fields }) => encodeFrame(fields, payload));
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { minLength: 1, maxLength: 8 }), async (frames) => {
      const link = await child.endpoint.connect(server.peer);
      const opening = link.open({ task, version, ticket: ticketFor(child.peerId) });
      opening.catch(() => undefined);
      await until(() => server.peers.at(-1)?.isReady === true);
      const peer = server.peers.at(-1);
      await peer?.next(frameTypes.open);
      peer?.send({ type: frameTypes.opened, channel: 1, a: 8, b: 10 }, Uint8Array.of(0xff));
      const channel = await opening;
      const sinks = [0, 1, 2].map(() => new MemorySink(10));
      const ends = sinks.map(async (sink, piece) => channel.fetch({ piece, length: 10, sink }));
      await pour(peer?.socket ?? new Socket(), frames);
      await Promise.allSettled(ends);
      for (const { finished, aborted } of sinks) t.is(finished + aborted, 1);
      await channel.closed;
      await check();
    }),
    { numRuns: 50 },
  );
  t.is(child.endpoint.stats().links, 1);
});

const openChannel = (peer: HandMadePeer, channel = 1): void => {
  const ticket = ticketFor(peer.identity.peerId);
  peer.send({ type: frameTypes.open, channel }, JSON.stringify({ task, version, ticket }));
};

const request = { type: frameTypes.request, channel: 1, a: 2, b: 10_000 };

/** What a child may not do; each is answered by GOODBYE ERR_PROTOCOL. */
const childSins: Record<string, (peer: HandMadePeer) => void> = {
  'a second HELLO': (peer) => peer.send({ type: frameTypes.hello }, '{}'),
  'an unknown type': (peer) => peer.send({ type: 99 }),
  'a number of our own': (peer) => openChannel(peer, 2),
  'an open channel opened': (peer) => {
    openChannel(peer);
    openChannel(peer);
  },
  'an OPEN that is no JSON': (peer) => peer.send({ type: frameTypes.open, channel: 1 }, 'nonsense'),
  'an OPEN of nothing': (peer) => peer.send({ type: frameTypes.open, channel: 1 }, '{}'),
  'a REQUEST without a channel': (peer) => peer.send(request),
  'a REQUEST on the link': (peer) => peer.send({ ...request, channel: 0 }),
  'a REQUEST made twice': (peer) => {
    openChannel(peer);
    for (let piece = 0; piece < 10; piece += 1) peer.send({ ...request, a: piece });
    peer.send({ ...request, a: 9 });
  },
  'a CANCEL without a channel': (peer) => peer.send({ type: frameTypes.cancel, channel: 1 }),
  'DATA that nobody asked for': (peer) => {
    openChannel(peer);
    peer.send({ type: frameTypes.data, channel: 1 }, 'x');
  },
  'a HAVE to the parent': (peer) => {
    openChannel(peer);
    peer.send({ type: frameTypes.have, channel: 1 }, encodeIndexes([1]));
  },
  'a CLOSE of a closed channel': (peer) => {
    openChannel(peer);
    for (let round = 0; round < 2; round += 1) peer.send({ type: frameTypes.close, channel: 1 });
  },
  'a malformed MANIFEST': (peer) => {
    openChannel(peer);
    peer.send({ type: frameTypes.manifest, channel: 1 }, 'no batch\n\n');
  },
  'a ticket that is none': (peer) => {
    openChannel(peer);
    peer.send({ type: frameTypes.ticket, channel: 1 }, 'not a ticket');
  },
  'refused OPENs without end': (peer) => {
    for (let round = 0; round < 70; round += 1) {
      const payload = JSON.stringify({ task, version, ticket: 'wrong' });
      peer.send({ type: frameTypes.open, channel: 1 }, payload);
    }
  },
};

for (const [name, type] of Object.entries(frameTypes)) {
  childSins[`a ${name} frame of 4 GiB`] = (peer) => {
    const header = Buffer.alloc(16);
    writeHeader(header, { type, channel: 1 }, 0xffff_ffff);
    peer.socket.write(header);
  };
}

for (const [name, sin] of Object.entries(childSins)) {
  test(`a parent closes the link of a child at ${name}, and names it in the log`, async (t) => {
    const log = new MemoryLog();
    await using parent = await startHost({ log });
    await using child = await startHost();
    const check = await wellBehaved(parent, child);
    using peer = await HandMadePeer.connect(parent.port);
    sin(peer);
    const { payload } = await peer.next(frameTypes.goodbye);
    t.is(payload.toString(), 'ERR_PROTOCOL');
    await until(() => parent.endpoint.stats().links === 1);
    const [line] = log.lines.filter(({ level }) => level === 'warn');
    t.is(line?.facts['peer'], peer.identity.peerId);
    t.is(line?.facts['code'], 'ERR_PROTOCOL');
    await check();
  });
}

const data = { type: frameTypes.data, channel: 1 };

/** What a parent may not do while piece 0 (10 bytes) of 8 is fetched on channel 1. */
const parentSins: Record<string, (parent: HandMadePeer) => void> = {
  'DATA of another piece': (parent) => parent.send({ ...data, a: 1 }, 'x'),
  'DATA on another channel': (parent) => parent.send({ ...data, channel: 3 }, 'x'),
  'DATA on a channel of its own': (parent) => parent.send({ ...data, channel: 2 }, 'x'),
  'DATA on the link': (parent) => parent.send({ ...data, channel: 0 }, 'x'),
  'DATA from the middle': (parent) => parent.send({ ...data, b: 5 }, 'x'),
  'DATA beyond the end': (parent) => parent.send(data, 'x'.repeat(11)),
  'empty DATA': (parent) => parent.send(data),
  'a piece that ends early': (parent) => parent.send({ ...data, flags: FLAG_LAST }, 'x'),
  'DATA sent again': (parent) => {
    parent.send(data, 'xxxxx');
    parent.send(data, 'xxxxx');
  },
  'DATA after the end': (parent) => {
    parent.send({ ...data, flags: FLAG_LAST }, 'x'.repeat(10));
    parent.send({ ...data, flags: FLAG_LAST }, 'x'.repeat(10));
  },
  'a have-map after the first': (parent) =>
    parent.send({ type: frameTypes.opened, channel: 1, a: 8, b: 10 }, Uint8Array.of(0)),
  'REFUSED after OPENED': (parent) =>
    parent.send({ type: frameTypes.refused, channel: 1 }, 'ERR_BUSY'),
  'a HAVE out of range': (parent) =>
    parent.send({ type: frameTypes.have, channel: 1 }, encodeIndexes([8])),
  'half an index': (parent) => parent.send({ type: frameTypes.have, channel: 1 }, 'abc'),
  'a MISS of nothing': (parent) =>
    parent.send({ type: frameTypes.miss, channel: 1, a: 5 }, 'ERR_BUSY'),
  'a CANCELLED of nothing': (parent) => parent.send({ type: frameTypes.cancelled, channel: 1 }),
  'a REQUEST on our channel': (parent) => parent.send({ ...request, a: 0, b: 10 }),
  'an AUTH': (parent) => parent.send({ type: frameTypes.auth }, '{}'),
};

/** A child that fetches piece 0 from a parent in the hands of the test. */
async function fetching(
  server: HandMadeServer,
  child: TestHost,
  { signal, ...more }: Partial<ChannelRequest> & { readonly signal?: AbortSignal } = {},
): Promise<{ parent: HandMadePeer; channel: Channel; sink: MemorySink; bytes: Promise<unknown> }> {
  const link = await child.endpoint.connect(server.peer);
  const parent = await server.first();
  const opening = link.open({ task, version, ticket: ticketFor(child.peerId), ...more });
  await parent.next(frameTypes.open);
  parent.send({ type: frameTypes.opened, channel: 1, a: 8, b: 10 }, Uint8Array.of(0xff));
  const channel = await opening;
  const sink = new MemorySink(10);
  const bytes = channel.fetch({ piece: 0, length: 10, sink }, { signal });
  bytes.catch(() => undefined);
  await parent.next(frameTypes.request);
  return { parent, channel, sink, bytes };
}

for (const [name, sin] of Object.entries(parentSins)) {
  test(`a child closes the link of a parent at ${name}, and names it in the log`, async (t) => {
    const log = new MemoryLog();
    await using server = await HandMadeServer.listen();
    await using child = await startHost({ log });
    const { parent, channel, sink, bytes } = await fetching(server, child);
    sin(parent);
    t.is((await parent.next(frameTypes.goodbye)).payload.toString(), 'ERR_PROTOCOL');
    t.is((await channel.closed)?.code, 'ERR_PROTOCOL');
    if (name !== 'DATA after the end') {
      const error = await t.throwsAsync(bytes);
      t.is(CodedError.from(error).code, 'ERR_PROTOCOL');
      t.is(sink.aborted, 1);
    }
    t.is(sink.finished + sink.aborted, 1);
    const [line] = log.lines.filter(({ level }) => level === 'warn');
    t.is(line?.facts['peer'], server.identity.peerId);
    t.is(child.endpoint.stats().links, 0);
  });
}

test('a child ignores what it does not know when it is optional, and flags it does not know', async (t) => {
  await using server = await HandMadeServer.listen();
  await using child = await startHost();
  const { parent, bytes, sink } = await fetching(server, child);
  parent.send({ type: 200, flags: FLAG_OPTIONAL, channel: 9 }, Buffer.alloc(5000));
  parent.send({ ...data, flags: FLAG_LAST | 0x70 }, 'abcdefghij');
  await bytes;
  t.is(sink.bytes.toString(), 'abcdefghij');
});

test('a child drops what comes after its CANCEL, whatever the parent wrote before reading it', async (t) => {
  await using server = await HandMadeServer.listen();
  await using child = await startHost();
  const link = await child.endpoint.connect(server.peer);
  const parent = await server.first();
  const opening = link.open({ task, version, ticket: ticketFor(child.peerId) });
  await parent.next(frameTypes.open);
  parent.send({ type: frameTypes.opened, channel: 1, a: 8, b: 10 }, Uint8Array.of(0xff));
  const channel = await opening;
  const take = async (
    piece: number,
  ): Promise<{ sink: MemorySink; abort: AbortController; end: Promise<unknown> }> => {
    const [sink, abort] = [new MemorySink(10), new AbortController()];
    const end = channel.fetch({ piece, length: 10, sink }, { signal: abort.signal });
    end.catch(() => undefined);
    await parent.next(frameTypes.request);
    return { sink, abort, end };
  };
  const [first, second] = [await take(0), await take(1)];
  first.abort.abort();
  second.abort.abort();
  const again = await take(0);
  // Piece 0 had been sent whole, piece 1 had been refused, when the CANCELs were read.
  parent.send({ ...data, flags: FLAG_LAST }, 'late bytes');
  parent.send({ type: frameTypes.miss, channel: 1, a: 1 }, 'ERR_NOT_FOUND');
  parent.send({ type: frameTypes.cancelled, channel: 1, a: 0 });
  parent.send({ type: frameTypes.cancelled, channel: 1, a: 1 });
  parent.send({ ...data, flags: FLAG_LAST }, 'good bytes');
  await again.end;
  t.is(again.sink.bytes.toString(), 'good bytes');
  t.is(first.sink.written + second.sink.written, 0);
  t.is(child.endpoint.stats().duplicateBytes, 10);
  t.is(child.endpoint.stats().bytesIn, 10);
});

test('a parent cannot make a fetch fail with a code that means our own disk or digest', async (t) => {
  await using server = await HandMadeServer.listen();
  await using child = await startHost();
  const { parent, bytes } = await fetching(server, child);
  parent.send({ type: frameTypes.miss, channel: 1, a: 0 }, 'ERR_PIECE_DIGEST');
  t.is(CodedError.from(await t.throwsAsync(bytes)).code, 'ERR_LINK');
});

function fail(): never {
  throw new TypeError('a defect');
}

test('a defect in what an owner hooks in closes that link alone', async (t) => {
  const log = new MemoryLog();
  await using server = await HandMadeServer.listen();
  await using child = await startHost({ log });
  const link = await child.endpoint.connect(server.peer);
  const parent = await server.first();
  const opening = link.open({ task, version, ticket: ticketFor(child.peerId), onHave: fail });
  await parent.next(frameTypes.open);
  parent.send({ type: frameTypes.opened, channel: 1, a: 8, b: 10 }, Uint8Array.of(0));
  await opening;
  parent.send({ type: frameTypes.have, channel: 1 }, encodeIndexes([1]));
  t.is((await link.closed).code, 'ERR_INTERNAL');
  t.is(log.lines.filter(({ level }) => level === 'error').length, 1);
});

interface TakenBack {
  /** Frames of the parent. */
  readonly answer: readonly (readonly [fields: FrameFields, payload?: string])[];
  readonly isTakenBack: boolean;
  /** Of the fetch; undefined: it brings the piece. */
  readonly code?: string;
  /** Bytes in vain. */
  readonly wasted?: number;
}

const isSent = { type: frameTypes.cancelled, channel: 1, a: 0, flags: FLAG_BEING_SENT };
const isOut = { type: frameTypes.cancelled, channel: 1, a: 0 };
const whole = { ...data, flags: FLAG_LAST };
const takenBack: Readonly<Record<string, TakenBack>> = {
  'that it is being sent': { answer: [[isSent], [whole, 'abcdefghij']], isTakenBack: false },
  'that it was being sent': { answer: [[whole, 'abcdefghij'], [isSent]], isTakenBack: false },
  'that it is out of the line': { answer: [[isOut]], isTakenBack: true, code: 'ERR_INTERRUPTED' },
  'that it does not have the piece': {
    answer: [[{ type: frameTypes.miss, channel: 1, a: 0 }, 'ERR_NOT_FOUND'], [isSent]],
    isTakenBack: false,
    code: 'ERR_NOT_FOUND',
  },
  // As one does that knows no flag.
  'in the middle of it that it is cut short': {
    answer: [[data, 'abcde'], [isOut]],
    isTakenBack: true,
    code: 'ERR_INTERRUPTED',
    wasted: 5,
  },
};

for (const [name, { answer, ...end }] of Object.entries(takenBack)) {
  test(`a child that takes a request back is told ${name}, and may ask for the piece again`, async (t) => {
    let wasted = 0;
    await using server = await HandMadeServer.listen();
    await using child = await startHost();
    const { parent, channel, sink, bytes } = await fetching(server, child, {
      onWasted: (more) => (wasted += more),
    });
    const back = channel.takeBack(0);
    const cancel = await parent.next(frameTypes.cancel);
    t.is(cancel.header.flags, FLAG_IF_WAITING);
    for (const [fields, payload] of answer) parent.send(fields, payload);
    const code = await bytes.then(
      () => undefined,
      (error: unknown) => CodedError.from(error).code,
    );
    t.deepEqual([await back, code, wasted], [end.isTakenBack, end.code, end.wasted ?? 0]);
    t.is(sink.finished + sink.aborted, 1);
    const again = new MemorySink(10);
    const second = channel.fetch({ piece: 0, length: 10, sink: again });
    await parent.next(frameTypes.request);
    parent.send({ ...data, flags: FLAG_LAST }, 'klmnopqrst');
    await second;
    t.is(again.bytes.toString(), 'klmnopqrst');
  });
}

test('a request that is taken back and then cancelled is answered twice', async (t) => {
  await using server = await HandMadeServer.listen();
  await using child = await startHost();
  const abort = new AbortController();
  const { parent, channel, bytes } = await fetching(server, child, {
    signal: abort.signal,
  });
  const back = channel.takeBack(0);
  abort.abort();
  t.false(await back);
  await t.throwsAsync(bytes);
  const again = new MemorySink(10);
  const second = channel.fetch({ piece: 0, length: 10, sink: again });
  await parent.next(frameTypes.request);
  parent.send({ type: frameTypes.cancelled, channel: 1, a: 0, flags: FLAG_BEING_SENT });
  parent.send({ ...data, flags: FLAG_LAST }, 'late bytes');
  parent.send({ type: frameTypes.cancelled, channel: 1, a: 0 });
  parent.send({ ...data, flags: FLAG_LAST }, 'good bytes');
  await second;
  t.is(again.bytes.toString(), 'good bytes');
});
