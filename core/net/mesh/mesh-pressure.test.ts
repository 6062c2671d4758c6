import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { addressOf, startNode } from '../../../test/support/mesh-nodes.ts';
import { until } from '../../../test/support/until.ts';
import { SystemClock } from '../../base/clock.ts';
import type { MeshSession } from './mesh-node.ts';

const PUSH = '/test/push/1';
const signal = new AbortController().signal;
const MIB = 1_048_576;
/** Payload of a message; with its frame a little more than 64 KiB. */
const TEXT = 'x'.repeat(65_536);

/** What a session may hold at most, at both ends: queues, one window, and a frame on its way through each layer. */
const MAX_QUEUED_BYTES = 4 * MIB + 1 * MIB;
/** Live memory, both ends and the test itself; RSS is of no use here, as other tests share the process. */
const MAX_LIVE_GROWTH = 24 * MIB;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** What this thread holds when garbage is gone; what the kernel has not taken yet is freed when it pleases. */
function liveBytes(): number {
  collectGarbage();
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

test.serial(
  'MeshSession carries 64 MiB to a slow reader at the pace of that reader, in bounded memory',
  async (t) => {
    await using supernode = await startNode({ listens: true });
    await using host = await startNode();
    supernode.setAdmission(async () => null);
    const clock = new SystemClock();
    const accepted = Promise.withResolvers<MeshSession>();
    await supernode.handle(PUSH, { open: 'members', maxSessionsPerPeer: 1 }, (session) =>
      accepted.resolve(session),
    );
    const sender = await host.dial(addressOf(supernode), PUSH, { hello: {}, signal });
    const reader = await accepted.promise;
    const count = 1024;
    const liveBefore = liveBytes();
    let liveMax = liveBefore;
    let queuedMax = 0;
    let sent = 0;
    const reading = (async () => {
      let received = 0;
      for await (const message of reader.receive()) {
        if (message !== TEXT) t.fail('a message is not what was sent');
        received += 1;
        if (received % 16 === 0) await clock.sleep(10);
        queuedMax = Math.max(queuedMax, reader.stats.incomingBytes + sender.stats.outgoingBytes);
        if (received % 64 === 0) liveMax = Math.max(liveMax, liveBytes());
        // What was sent and not read is in queues that are bounded: the sender cannot run ahead.
        t.true((sent - received) * TEXT.length <= MAX_QUEUED_BYTES);
        if (received === count) return;
      }
    })();
    for (; sent < count; sent += 1) {
      await sender.drained({ signal });
      sender.send(TEXT);
    }
    await reading;
    t.true(queuedMax <= MAX_QUEUED_BYTES, `${queuedMax} bytes queued`);
    t.true(liveMax - liveBefore <= MAX_LIVE_GROWTH, `grew by ${(liveMax - liveBefore) / MIB} MiB`);
    t.is(reader.stats.receivedMessages, count);
  },
);

test.serial(
  'MeshSession ends with ERR_BUSY when the reader stops, and the node lives on',
  async (t) => {
    await using supernode = await startNode({ listens: true });
    await using host = await startNode();
    supernode.setAdmission(async () => null);
    const accepted: MeshSession[] = [];
    await supernode.handle(PUSH, { open: 'members', maxSessionsPerPeer: 2 }, (session) => {
      accepted.push(session);
    });
    const sender = await host.dial(addressOf(supernode), PUSH, { hello: {}, signal });
    await until(() => accepted.length === 1);
    const liveBefore = liveBytes();
    const clock = new SystemClock();
    let sent = 0;
    await t.throwsAsync(
      async () => {
        for (; sent < 1024; sent += 1) {
          sender.send(TEXT);
          await clock.sleep(0);
        }
      },
      { code: 'ERR_BUSY' },
    );
    t.true(sent * TEXT.length <= 2 * MAX_QUEUED_BYTES, `${sent} messages were taken`);
    t.is((await sender.closed)?.code, 'ERR_BUSY');
    t.is((await accepted[0]?.closed)?.code, 'ERR_LINK');
    t.true(liveBytes() - liveBefore <= MAX_LIVE_GROWTH);
    // The other session on the same connection is not harmed.
    const other = await host.dial(addressOf(supernode), PUSH, { hello: {}, signal });
    await until(() => accepted.length === 2);
    accepted[1]?.send('hello');
    for await (const message of other.receive()) {
      t.is(message, 'hello');
      break;
    }
  },
);

test.serial(
  'MeshSession takes a burst of four hundred messages of 25 KB, one after the other',
  async (t) => {
    await using supernode = await startNode({ listens: true });
    await using host = await startNode();
    supernode.setAdmission(async () => null);
    const accepted = Promise.withResolvers<MeshSession>();
    await supernode.handle(PUSH, { open: 'members', maxSessionsPerPeer: 1 }, (session) =>
      accepted.resolve(session),
    );
    const sender = await host.dial(addressOf(supernode), PUSH, { hello: {}, signal });
    const reader = await accepted.promise;
    const count = 400;
    const text = 'y'.repeat(25_000);
    const sending = (async () => {
      for (let sent = 0; sent < count; sent += 1) {
        await sender.drained({ signal });
        sender.send(text);
      }
    })();
    let received = 0;
    for await (const _message of reader.receive()) {
      received += 1;
      if (received === count) break;
    }
    await sending;
    t.is(received, count);
  },
);
