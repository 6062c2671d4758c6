import anyTest from 'ava';
import {
  HandMadePeer,
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
import { SystemClock } from '../../base/clock.ts';
import { RateLimiter } from '../pacing.ts';
import { FRAME_HEADER_BYTES, MAX_BLOCK_BYTES, frameTypes } from './frame.ts';
import { parseIndexes } from './messages.ts';
import type { PieceSink } from './piece-fetch.ts';
import type { ServedTask } from './served-task.ts';

// One at a time: they measure the memory of this thread.
const test = anyTest.serial;
const MIB = 1_048_576;
const BLOCK = FRAME_HEADER_BYTES + MAX_BLOCK_BYTES;

/** Many large pieces that exist nowhere: each byte is the number of its block. */
const endless: ServedTask = {
  pieceLength: 16 * MIB,
  lengthOf: () => 16 * MIB,
  has: () => true,
  haveMap: () => Uint8Array.of(0xff),
  pieceCount: () => 8,
  manifest: () => [],
  read: (_piece, offset, target) => {
    target.fill(Math.floor(offset / MAX_BLOCK_BYTES));
    return target.length;
  },
};

/** Counts and checks what comes of an `endless` piece. */
class CountingSink implements PieceSink {
  bytes = 0;
  wrong = 0;

  write(offset: number, chunk: Uint8Array): void {
    const last = offset + chunk.length - 1;
    if (chunk[0] !== (Math.floor(offset / MAX_BLOCK_BYTES) & 0xff)) this.wrong += 1;
    if (chunk.at(-1) !== (Math.floor(last / MAX_BLOCK_BYTES) & 0xff)) this.wrong += 1;
    this.bytes += chunk.length;
  }

  finish(): void {
    if (this.wrong > 0) throw new Error('wrong bytes');
  }

  abort(): void {
    this.wrong += 1;
  }
}

async function fetchAll(parent: TestHost, child: TestHost, pieces: number[]): Promise<number> {
  const link = await child.endpoint.connect(parent.peer);
  const channel = await link.open({ task, version, ticket: ticketFor(child.peerId) });
  const results = await Promise.all(
    pieces.map(async (piece) =>
      channel.fetch({ piece, length: 16 * MIB, sink: new CountingSink() }),
    ),
  );
  return results.reduce((sum, { bytes }) => sum + bytes, 0);
}

for (const encryption of ['tls', 'none'] as const) {
  test(`a reader that stops reading holds one block, and others are served (${encryption})`, async (t) => {
    await using parent = await startHost({
      encryption,
      limits: { maxActiveUploads: 1, slowMs: 50, tickMs: 25 },
    });
    await using child = await startHost({ encryption });
    parent.tasks.set(task, endless);
    using stopped = await HandMadePeer.connect(parent.port, { encryption });
    const ticket = ticketFor(stopped.identity.peerId);
    stopped.send({ type: frameTypes.open, channel: 1 }, JSON.stringify({ task, version, ticket }));
    await stopped.next(frameTypes.opened);
    stopped.socket.pause();
    for (let a = 0; a < 5; a += 1) {
      stopped.send({ type: frameTypes.request, channel: 1, a, b: 16 * MIB });
    }
    await until(() => parent.endpoint.stats().queuedBytes >= BLOCK);
    const memory = process.memoryUsage();
    let mostQueued = 0;
    const watch = new SystemClock().every(1, () => {
      mostQueued = Math.max(mostQueued, parent.endpoint.stats().queuedBytes);
    });
    t.is(await fetchAll(parent, child, [0, 1, 2, 3, 4]), 80 * MIB);
    watch.cancel();
    const grown = process.memoryUsage().arrayBuffers - memory.arrayBuffers;
    t.true(mostQueued <= 2 * BLOCK + 4096, `${mostQueued} bytes were queued`);
    t.true(grown < 32 * MIB, `memory grew by ${grown}`);
    t.false(stopped.isClosed);
    // It reads on, and misses nothing.
    stopped.socket.resume();
    let received = 0;
    while (received < 80 * MIB) {
      const { header, payload } = await stopped.next(frameTypes.data);
      if (payload[0] !== (Math.floor((received % (16 * MIB)) / MAX_BLOCK_BYTES) & 0xff)) {
        t.fail(`wrong bytes of piece ${header.a} after ${received}`);
      }
      received += payload.length;
    }
    t.is(received, 80 * MIB);
    await until(() => parent.endpoint.stats().queuedBytes === 0);
  });

  test(`a download limit slows the parent and not its own host (${encryption})`, async (t) => {
    const clock = new SystemClock();
    const downloadLimiter = new RateLimiter(64 * MIB, clock);
    await using parent = await startHost({ encryption });
    await using child = await startHost({ encryption, downloadLimiter });
    parent.tasks.set(task, endless);
    const link = await child.endpoint.connect(parent.peer);
    const channel = await link.open({ task, version, ticket: ticketFor(child.peerId) });
    const before = process.memoryUsage().arrayBuffers;
    let mostQueued = 0;
    let mostMemory = 0;
    const watch = new SystemClock().every(1, () => {
      mostQueued = Math.max(mostQueued, parent.endpoint.stats().queuedBytes);
      mostMemory = Math.max(mostMemory, process.memoryUsage().arrayBuffers - before);
    });
    const begun = clock.monotonic();
    const sinks = [0, 1, 2, 3, 4].map(() => new CountingSink());
    await Promise.all(
      sinks.map(async (sink, piece) => channel.fetch({ piece, length: 16 * MIB, sink })),
    );
    watch.cancel();
    const ms = clock.monotonic() - begun;
    t.true(ms > 1150, `80 MiB at 64 MiB/s took ${ms} ms`);
    t.true(mostQueued <= BLOCK + 4096, `${mostQueued} bytes were queued`);
    t.true(mostMemory < 32 * MIB, `memory grew by ${mostMemory}`);
    for (const { bytes } of sinks) t.is(bytes, 16 * MIB);
    t.is(downloadLimiter.passedBytes, 80 * MIB);
  });
}

test('a host that reads no more because of its limit is heard of, and hears no silence', async (t) => {
  const limits = { pingAfterMs: 50, silentMs: 150, tickMs: 25 };
  const downloadLimiter = new RateLimiter(1, new SystemClock());
  await using child = await startHost({ limits, downloadLimiter });
  await using parent = await startHost({ limits });
  parent.tasks.set(task, endless);
  child.tasks.set(task, new MemoryTask(contentOf(10), 10));
  const link = await child.endpoint.connect(parent.peer);
  const channel = await link.open({ task, version, ticket: ticketFor(child.peerId) });
  const fetched = [0, 1].map(async (piece) =>
    channel.fetch({ piece, length: 16 * MIB, sink: new CountingSink() }),
  );
  await until(() => channel.isHeldBack && channel.receivedBytes >= 8 * MIB);
  // On the same link, and not read for now: an answer is due all the time.
  const back = await parent.endpoint.connect(child.peer);
  t.is(back.remoteAddress.length > 0, true);
  const asked = back.open({ task, version, ticket: ticketFor(parent.peerId) });
  await new SystemClock().sleep(600);
  t.false(back.isClosed);
  t.false(link.isClosed);
  downloadLimiter.setRate(0);
  t.is((await asked).has(0), true);
  for (const { bytes } of await Promise.all(fetched)) t.is(bytes, 16 * MIB);
});

test('the limit of one task holds up no other on its link, nor what else comes on it', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  parent.tasks.set(task, new MemoryTask(contentOf(2 * MIB), MIB));
  const link = await child.endpoint.connect(parent.peer);
  const ticket = ticketFor(child.peerId);
  const limiter = new RateLimiter(1_000, new SystemClock());
  const slow = await link.open({ task, version, ticket, limiter });
  const free = await link.open({ task, version, ticket });
  const sink = new MemorySink(MIB);
  const controller = new AbortController();
  const waiting = slow.fetch({ piece: 0, length: MIB, sink }, { signal: controller.signal });
  await until(() => slow.receivedBytes === MIB);
  const other = new MemorySink(MIB);
  t.is((await free.fetch({ piece: 1, length: MIB, sink: other })).bytes, MIB);
  t.true(sink.written < MIB / 2, `${sink.written}`);
  t.true(slow.isHeldBack);
  controller.abort(new Error('enough'));
  await t.throwsAsync(waiting);
  t.is(sink.aborted, 1);
  // It can be had again, on the same channel.
  limiter.setRate(0);
  const again = new MemorySink(MIB);
  await slow.fetch({ piece: 0, length: MIB, sink: again });
  t.is(again.finished, 1);
});

test('announcements for a reader that stops reading do not pile up', async (t) => {
  await using parent = await startHost();
  const served = new MemoryTask(contentOf(50_000), 1, { isEmpty: true });
  parent.tasks.set(task, served);
  using stopped = await HandMadePeer.connect(parent.port);
  const ticket = ticketFor(stopped.identity.peerId);
  stopped.send({ type: frameTypes.open, channel: 1 }, JSON.stringify({ task, version, ticket }));
  await stopped.next(frameTypes.opened);
  stopped.socket.pause();
  const pieces = Array.from({ length: 10_000 }, (_, piece) => piece);
  for (let round = 0; round < 400; round += 1) {
    parent.endpoint.announce({ task, version, pieces });
    parent.endpoint.retract({ task, version, pieces });
    if (round % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  parent.endpoint.announce({ task, version, pieces: [42, 49_999] });
  const { queuedBytes, links } = parent.endpoint.stats();
  t.true(queuedBytes < 2 * MIB, `${queuedBytes} bytes are queued`);
  t.is(links, 1);
  stopped.socket.resume();
  const have = new Set<number>();
  while (!have.has(49_999)) {
    await until(() => stopped.frames.length > 0);
    for (const { header, payload } of stopped.frames.splice(0)) {
      for (const piece of parseIndexes(payload, 50_000)) {
        if (header.type === frameTypes.have) have.add(piece);
        else have.delete(piece);
      }
    }
  }
  t.deepEqual([...have], [42, 49_999]);
});

test('a peer that asks and never reads the answers is cut off', async (t) => {
  await using parent = await startHost({ limits: { maxBacklogBytes: 65_536 } });
  parent.tasks.set(task, new MemoryTask(contentOf(10), 10));
  using flood = await HandMadePeer.connect(parent.port);
  flood.socket.pause();
  while (parent.endpoint.stats().links > 0) {
    for (let a = 0; a < 500; a += 1) flood.send({ type: frameTypes.ping, a });
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.is(parent.endpoint.stats().queuedBytes, 0);
});

test('an upload limit holds for all links of an endpoint together, in small blocks when it is low', async (t) => {
  const clock = new SystemClock();
  const rate = 800_000;
  await using parent = await startHost({ uploadLimiter: new RateLimiter(rate, clock) });
  await using one = await startHost();
  await using other = await startHost();
  const served = new MemoryTask(contentOf(1_200_000), 300_000);
  parent.tasks.set(task, served);
  const begun = clock.monotonic();
  let mostPart = 0;
  await Promise.all(
    [one, other].map(async (child) => {
      const link = await child.endpoint.connect(parent.peer);
      const channel = await link.open({ task, version, ticket: ticketFor(child.peerId) });
      for (const piece of [0, 1]) {
        const sink = new MemorySink(300_000);
        const write = sink.write.bind(sink);
        sink.write = (offset, chunk) => {
          mostPart = Math.max(mostPart, chunk.length);
          write(offset, chunk);
        };
        await channel.fetch({ piece, length: 300_000, sink });
        t.true(sink.bytes.equals(served.pieceOf(piece)));
      }
    }),
  );
  const seconds = (clock.monotonic() - begun) / 1000;
  t.true(seconds > (1_200_000 / rate) * 0.95, `${seconds} s`);
  t.true(mostPart <= 16_384, `${mostPart} bytes at once`);
});
