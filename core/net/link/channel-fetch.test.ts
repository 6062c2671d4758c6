import test from 'ava';
import { fetchPiece, openedPair } from '../../../test/support/link-channels.ts';
import {
  MemorySink,
  MemoryTask,
  contentOf,
  startHost,
  task,
} from '../../../test/support/link-hosts.ts';
import { until } from '../../../test/support/until.ts';
import { CodedError } from '../../base/error.ts';
import { MAX_BLOCK_BYTES } from './frame.ts';
import type { SentPiece } from './served-channel.ts';

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
}

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
