import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import test from 'ava';
import {
  MemorySink,
  MemoryTask,
  contentOf,
  startHost,
  task,
  ticketFor,
  version,
} from '../../../test/support/link-hosts.ts';
import { until } from '../../../test/support/until.ts';
import { ManualClock, SystemClock } from '../../base/clock.ts';
import { RateLimiter } from '../pacing.ts';
import { LinkSocket } from './link-socket.ts';
import { defaultLinkLimits } from './limits.ts';
import { ReadBeat, beatFor } from './read-beat.ts';
import type { BeatenReader } from './read-beat.ts';

const KIB = 1024;

/** What is done to a link, in order. */
class Recorder implements BeatenReader {
  readonly calls: string[] = [];
  received = 0;

  rest(): void {
    this.calls.push('rest');
  }

  wake(): void {
    this.calls.push('wake');
  }
}

async function polled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test('beatFor() lets at most 32 KiB gather, and leaves fast links alone and those that say little', (t) => {
  t.is(beatFor(0), 0);
  t.is(beatFor(10_000), 0);
  t.is(beatFor(100_000), 40);
  t.is(beatFor(800_000), 40);
  t.is(beatFor(1_600_000), 20);
  t.is(beatFor(3_200_000), 10);
  t.is(beatFor(6_500_000), 5);
  t.is(beatFor(7_000_000), 0);
});

test('ReadBeat wakes a link each beat for one turn of the loop, and no more once it is taken off', async (t) => {
  const clock = new ManualClock();
  const beat = new ReadBeat(clock);
  const link = new Recorder();
  beat.set(link, 20);
  t.deepEqual(link.calls, ['rest']);
  for (let round = 0; round < 3; round += 1) {
    link.calls.length = 0;
    clock.advance(20);
    t.deepEqual(link.calls, ['wake']);
    await polled();
    t.deepEqual(link.calls, ['wake', 'rest']);
  }
  clock.advance(20);
  link.calls.length = 0;
  beat.set(link, 0);
  await polled();
  clock.advance(200);
  t.deepEqual(link.calls, ['wake'], 'what it was about to do is not done either');
});

test('ReadBeat reads links of several beats together, whichever come and go', async (t) => {
  const clock = new ManualClock();
  const beat = new ReadBeat(clock);
  const [slow, fast] = [new Recorder(), new Recorder()];
  beat.set(slow, 40);
  let wakes = 0;
  for (let round = 0; round < 40; round += 1) {
    // The shortest beat changes all the time.
    beat.set(fast, round % 2 === 0 ? 5 : 0);
    clock.advance(10);
    await polled();
    wakes = slow.calls.filter((call) => call === 'wake').length;
  }
  t.true(wakes >= 8 && wakes <= 10, `${wakes} in 400 ms`);
});

test('ReadBeat reads a link as its bytes come once more come than may gather', async (t) => {
  const clock = new ManualClock();
  const beat = new ReadBeat(clock);
  const link = new Recorder();
  beat.set(link, 40);
  for (const [bytes, calls] of [
    [32 * KIB, ['wake', 'rest']],
    [32 * KIB + 1, ['wake', 'wake']],
    [1, []],
  ] as const) {
    link.calls.length = 0;
    clock.advance(40);
    link.received += bytes;
    await polled();
    t.deepEqual(link.calls, calls);
  }
});

/** Both ends of a connection. */
async function connected(): Promise<readonly [near: Socket, far: Socket]> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const near = connect({
    host: '127.0.0.1',
    port,
    onread: { buffer: Buffer.alloc(64 * KIB), callback: () => true },
  });
  const [[far]] = (await Promise.all([once(server, 'connection'), once(near, 'connect')])) as [
    [Socket],
    unknown,
  ];
  server.close();
  return [near, far];
}

test('LinkSocket reads only when neither its beat nor a full inflow holds it', async (t) => {
  const [near, far] = await connected();
  const clock = new SystemClock();
  const link = new LinkSocket(near, { limits: defaultLinkLimits, clock });
  const isRead = async (): Promise<boolean> => {
    const before = near.bytesRead;
    far.write('x');
    await clock.sleep(50);
    return near.bytesRead > before;
  };
  t.true(await isRead());
  link.rest();
  t.false(await isRead());
  link.pause();
  link.wake();
  t.false(await isRead());
  link.rest();
  link.resume();
  t.false(await isRead());
  link.wake();
  t.true(await isRead());
  near.destroy();
  far.destroy();
});

for (const encryption of ['tls', 'none'] as const) {
  test(`a slow link brings its pieces, and what else comes on it (${encryption})`, async (t) => {
    const clock = new SystemClock();
    await using parent = await startHost({
      encryption,
      uploadLimiter: new RateLimiter(300_000, clock),
    });
    await using child = await startHost({ encryption });
    const served = new MemoryTask(contentOf(400 * KIB), 100 * KIB);
    parent.tasks.set(task, served);
    const link = await child.endpoint.connect(parent.peer);
    const news: number[] = [];
    const channel = await link.open({
      task,
      version,
      ticket: ticketFor(child.peerId),
      onHave: ({ pieces }) => void news.push(...pieces),
    });
    const fetches = [0, 1, 2, 3].map(async (piece) => {
      const length = served.lengthOf(piece);
      const sink = new MemorySink(length);
      await channel.fetch({ piece, length, sink });
      return sink.bytes;
    });
    await clock.sleep(700);
    parent.endpoint.announce({ task, version, pieces: [1] });
    await until(() => news.includes(1));
    t.true(Buffer.concat(await Promise.all(fetches)).equals(served.content));
  });
}
