import test from 'ava';
import { ManualClock } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import { SeededRandom } from '../../base/random.ts';
import { encodeFrame } from './frame-codec.ts';
import { memoryChannelPair } from './memory-channel.ts';
import { memorySessionPair } from './memory-session.ts';
import { defaultMeshLimits } from './mesh-limits.ts';
import type { MeshSession } from './mesh-session.ts';
import { ChannelSession } from './session.ts';

async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

async function readAll(session: MeshSession): Promise<unknown[]> {
  const messages: unknown[] = [];
  for await (const message of session.receive()) messages.push(message);
  return messages;
}

/** A session whose other end is driven by hand. */
function withRawPeer(limits: Partial<typeof defaultMeshLimits> = {}) {
  const clock = new ManualClock();
  const [channel, raw] = memoryChannelPair();
  const session = new ChannelSession({
    channel,
    clock,
    random: new SeededRandom(1),
    limits: { ...defaultMeshLimits, ...limits },
    remotePeerId: 'raw',
    remoteAddress: '127.0.0.1',
    protocol: '/test/1',
  });
  raw.listen({
    onBytes: () => undefined,
    onDrain: () => undefined,
    onRemoteEnd: () => undefined,
    onClose: () => undefined,
  });
  return { clock, raw, session };
}

test('MeshSession delivers messages in order, both ways, and ends well', async (t) => {
  const { dialer, listener } = memorySessionPair({ clock: new ManualClock() });
  const sent = Array.from({ length: 500 }, (_, index) => ({ index, text: 'ü'.repeat(index) }));
  for (const message of sent) dialer.send(message);
  listener.send(['hello', null]);
  const received = readAll(listener);
  for await (const message of dialer.receive()) {
    t.deepEqual(message, ['hello', null]);
    break;
  }
  await dialer.close();
  t.deepEqual(await received, sent);
  t.is(await dialer.closed, undefined);
  t.is(await listener.closed, undefined);
  t.is(dialer.stats.sentMessages, 500);
  t.is(listener.stats.receivedMessages, 500);
});

test('MeshSession.close() tells the other side why, and what was sent before still arrives', async (t) => {
  const { dialer, listener } = memorySessionPair({ clock: new ManualClock() });
  dialer.send(1);
  await dialer.close(new CodedError('ERR_NOT_MEMBER', 'the record ended', { detail: { a: 1 } }));
  const messages = listener.receive()[Symbol.asyncIterator]();
  t.deepEqual(await messages.next(), { value: 1 } as never);
  const error = await t.throwsAsync(async () => messages.next(), { code: 'ERR_NOT_MEMBER' });
  t.is(error?.message, 'the record ended');
  t.is((await listener.closed)?.detail['a'], 1);
  t.is((await dialer.closed)?.code, 'ERR_NOT_MEMBER');
  t.throws(() => dialer.send(2), { code: 'ERR_NOT_MEMBER' });
});

test('MeshSession.send() refuses what no frame holds and what JSON cannot say, and lives on', async (t) => {
  const { dialer, listener } = memorySessionPair({
    clock: new ManualClock(),
    limits: { maxFrameBytes: 1000 },
  });
  t.throws(() => dialer.send('x'.repeat(1000)), { code: 'ERR_PROTOCOL' });
  t.throws(() => dialer.send(undefined), { instanceOf: TypeError });
  dialer.send('fine');
  await dialer.close();
  t.deepEqual(await readAll(listener), ['fine']);
});

test('MeshSession.send() to a side that stopped reading ends the session with ERR_BUSY, not with memory', async (t) => {
  const limits = { maxOutgoingBytes: 300_000, maxIncomingBytes: 50_000 };
  const { dialer, listener, dialerChannel } = memorySessionPair({
    clock: new ManualClock(),
    limits,
  });
  const error = await t.throwsAsync(
    async () => {
      for (let index = 0; index < 10_000; index += 1) {
        dialer.send('x'.repeat(1000));
        t.true(dialer.stats.outgoingBytes <= 300_000);
        t.true(dialerChannel.pendingBytes <= 262_144 + 65_536);
        t.true(listener.stats.incomingBytes <= 50_000 + 65_536 * 2);
        if (index % 10 === 0) await settle();
      }
    },
    { code: 'ERR_BUSY' },
  );
  t.is(await dialer.closed, error as never);
  t.is((await listener.closed)?.code, 'ERR_LINK');
  t.throws(() => dialer.send(1), { code: 'ERR_BUSY' });
  await t.throwsAsync(dialer.drained(), { code: 'ERR_BUSY' });
});

test('MeshSession.drained() holds a sender to the pace of a slow reader, and everything arrives', async (t) => {
  const limits = { maxOutgoingBytes: 200_000, maxIncomingBytes: 50_000 };
  const { dialer, listener } = memorySessionPair({ clock: new ManualClock(), limits });
  const count = 3000;
  let read = 0;
  const reader = (async () => {
    for await (const message of listener.receive()) {
      t.is(String(message).length, 2000);
      read += 1;
      if (read % 50 === 0) await settle();
    }
  })();
  for (let index = 0; index < count; index += 1) {
    await dialer.drained();
    dialer.send('y'.repeat(2000));
  }
  await dialer.drained();
  while (dialer.stats.outgoingBytes > 0) await settle();
  await dialer.close();
  await reader;
  t.is(read, count);
});

test('MeshSession ends with ERR_LINK when the peer falls silent, on both sides', async (t) => {
  const clock = new ManualClock();
  const { dialer, listener, dialerChannel, listenerChannel } = memorySessionPair({ clock });
  dialerChannel.cut();
  listenerChannel.cut();
  let elapsedMs = 0;
  while (!dialer.hasEnded) {
    clock.advance(1000);
    elapsedMs += 1000;
    await settle();
  }
  t.true(elapsedMs >= 15_000 && elapsedMs <= 20_000, `${elapsedMs}`);
  const error = await dialer.closed;
  t.is(error?.code, 'ERR_LINK');
  t.is(error?.detail['silentMs'], 15_000);
  t.is((await listener.closed)?.code, 'ERR_LINK');
});

test('MeshSession lives on in silence while the peer beats, and beats are not messages', async (t) => {
  const clock = new ManualClock();
  const { dialer, listener } = memorySessionPair({ clock });
  for (let second = 0; second < 300; second += 1) {
    clock.advance(1000);
    await settle();
  }
  t.false(dialer.hasEnded);
  t.is(listener.stats.receivedMessages, 0);
  t.true(listener.stats.receivedBytes > 0);
  dialer.send('still here');
  await dialer.close();
  t.deepEqual(await readAll(listener), ['still here']);
});

test('MeshSession does not count its own lag as silence of the peer', async (t) => {
  // A loop that is blocked for a minute sees its timer once, late.
  const late = new LaggingClock();
  const [channel] = memoryChannelPair();
  const session = new ChannelSession({
    channel,
    clock: late,
    random: new SeededRandom(1),
    limits: defaultMeshLimits,
    remotePeerId: 'p',
    remoteAddress: '127.0.0.1',
    protocol: '/test/1',
  });
  for (let look = 0; look < 10; look += 1) late.lag(60_000);
  t.false(session.hasEnded);
  for (let look = 0; look < 3; look += 1) late.lag(5_000);
  t.true(session.hasEnded);
});

test('MeshSession with a reader that pauses for long is not taken for dead, on either side', async (t) => {
  const clock = new ManualClock();
  const limits = { maxIncomingBytes: 10_000, maxOutgoingBytes: 2_000_000 };
  const { dialer, listener } = memorySessionPair({ clock, limits });
  for (let index = 0; index < 1000; index += 1) dialer.send('z'.repeat(1000));
  for (let second = 0; second < 120; second += 1) {
    clock.advance(1000);
    await settle();
  }
  t.false(dialer.hasEnded);
  t.false(listener.hasEnded);
  let read = 0;
  for await (const _ of listener.receive()) {
    read += 1;
    if (read === 1000) break;
  }
  t.is(read, 1000);
  await dialer.close();
  await listener.closed;
});

test('MeshSession answers what is no frame, no UTF-8 and no JSON with ERR_PROTOCOL', async (t) => {
  const cases: readonly Uint8Array[] = [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Uint8Array.of(0xff, 0xff, 0xff, 0xff),
    Uint8Array.of(0, 0, 0, 2, 0xc3, 0x28),
    encodeFrame('message', '{"a":', 1000),
    encodeFrame('message', '', 1000),
    encodeFrame('welcome', '{}', 1000),
  ];
  for (const bytes of cases) {
    const { raw, session } = withRawPeer();
    raw.send(bytes);
    await t.throwsAsync(readAll(session), { code: 'ERR_PROTOCOL' });
    t.is((await session.closed)?.code, 'ERR_PROTOCOL');
  }
});

test('MeshSession takes deep nesting and keys of prototypes as mere data', async (t) => {
  const { raw, session } = withRawPeer();
  raw.send(encodeFrame('message', '['.repeat(500_000) + ']'.repeat(500_000), 1 << 20));
  raw.send(
    encodeFrame(
      'message',
      '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}',
      1000,
    ),
  );
  raw.send(encodeFrame('bye', '{"__proto__":{"error":{"code":"ERR_BUSY","message":"x"}}}', 1000));
  const messages = session.receive()[Symbol.asyncIterator]();
  t.true(Array.isArray((await messages.next()).value));
  await messages.next();
  t.is(Reflect.get({}, 'polluted'), undefined);
  await t.throwsAsync(async () => messages.next(), { code: 'ERR_PROTOCOL' });
});

test('MeshSession whose peer vanishes without a goodbye ends with ERR_LINK', async (t) => {
  const { raw, session } = withRawPeer();
  raw.send(encodeFrame('message', '1', 1000));
  await settle();
  raw.abort(new Error('killed'));
  await t.throwsAsync(readAll(session), { code: 'ERR_LINK' });
  const other = withRawPeer();
  await other.raw.close();
  t.is((await other.session.closed)?.code, 'ERR_LINK');
});

test('MeshSession.limitSteps() ends a session whose peer lets its reader wait too long', async (t) => {
  const { clock, raw, session } = withRawPeer();
  session.limitSteps(5000);
  // Nobody waits: it is our turn, not the peer's.
  clock.advance(10_000);
  t.false(session.hasEnded);
  const reading = readAll(session);
  clock.advance(4000);
  raw.send(encodeFrame('message', '1', 1000));
  await settle();
  clock.advance(4000);
  t.false(session.hasEnded);
  // A sign of life is not a step.
  raw.send(encodeFrame('ping', '', 0));
  await settle();
  clock.advance(1000);
  t.is((await session.closed)?.code, 'ERR_TIMEOUT');
  await t.throwsAsync(reading, { code: 'ERR_TIMEOUT' });
});

test('MeshSession.close() does not wait for a peer that never answers', async (t) => {
  const { clock, session } = withRawPeer();
  const closing = session.close();
  await settle();
  clock.advance(defaultMeshLimits.closeMs);
  await closing;
  t.true(session.hasEnded);
});

/** A clock whose timer fires once per lag, as a blocked event loop's does. */
class LaggingClock extends ManualClock {
  #now = 0;
  readonly #tasks = new Set<() => void>();

  override monotonic(): number {
    return this.#now;
  }

  override every(_ms: number, task: () => void) {
    this.#tasks.add(task);
    return { cancel: () => this.#tasks.delete(task) };
  }

  lag(ms: number): void {
    this.#now += ms;
    for (const task of this.#tasks) task();
  }
}
