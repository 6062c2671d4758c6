/** A process of light hosts: carries out the orders of the benchmark that forked it, and ends with it. */
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { SystemRandom } from '../../core/base/random.ts';
import { CrowdHost } from './crowd-host.ts';
import { BatchReader } from './crowd-task.ts';
import type {
  ConnectOrder,
  CrowdAnswers,
  CrowdCall,
  CrowdOrder,
  CrowdReply,
  TakeOrder,
} from './crowd-messages.ts';

const TICK_MS = 100;
const LOOK_MS = 50;

const [folder = '', supernode = ''] = process.argv.slice(2);
const clock = new SystemClock();
const random = new SystemRandom();
const hosts: CrowdHost[] = [];

const linkServer = createServer((socket) => socket.on('error', () => undefined).end());
linkServer.listen(0, '127.0.0.1');
await once(linkServer, 'listening');
const bound = linkServer.address();
const linkPort = typeof bound === 'object' && bound !== null ? bound.port : 0;
const parts = { supernode, linkPort, reader: new BatchReader(), clock, random };

let lastMs = clock.monotonic();
clock.every(TICK_MS, () => {
  const now = clock.monotonic();
  for (const host of hosts) host.advance(now - lastMs);
  lastMs = now;
});

process.on('message', (call: CrowdCall) => void answer(call));
process.once('disconnect', () => process.exit());
// What is sent before somebody listens is lost.
process.send?.({ id: 0, answer: {} } satisfies CrowdReply);

async function answer({ id, order }: CrowdCall): Promise<void> {
  let reply: CrowdReply;
  try {
    reply = { id, answer: await carryOut(order) };
  } catch (error) {
    const { code, message } = CodedError.from(error);
    reply = { id, error: `${order.do}: ${code} ${message}` };
  }
  process.send?.(reply);
}

async function carryOut(order: CrowdOrder): Promise<CrowdAnswers[CrowdOrder['do']]> {
  switch (order.do) {
    case 'connect':
      return { milliseconds: await connect(order) };
    case 'take':
      return { milliseconds: await take(order) };
    case 'whole':
      return { failed: await whole(order.url) };
    case 'ask':
      return { parents: await hostAt(order.host).ask(order.url) };
    case 'blame':
      hostAt(order.host).blame(order.url, order.parent);
      return {};
    case 'peers':
      return { peers: hosts.map(({ peerId }) => peerId) };
    case 'parents':
      return { parents: hosts.map((host) => [...(host.task(order.url)?.parents ?? [])]) };
    case 'traffic':
      return traffic();
    case 'calls':
      return calls();
    case 'returned':
      return { hosts: hosts.map((host) => host.returned(order.sinceMs)) };
  }
}

async function connect({
  joinToken,
  hosts: count,
  parallel,
  takesCalls = false,
}: ConnectOrder): Promise<number[]> {
  const milliseconds: number[] = [];
  let left = count;
  const lane = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const startMs = clock.monotonic();
      const host = await CrowdHost.open(join(folder, `host-${left}`), {
        ...parts,
        joinToken,
        takesCalls,
      });
      milliseconds.push(clock.monotonic() - startMs);
      hosts.push(host);
    }
  };
  await Promise.all(Array.from({ length: parallel }, lane));
  return milliseconds;
}

async function take({ url, hosts: range, piecesPerSecond, overMs }: TakeOrder): Promise<number[]> {
  const takers = hosts.slice(range.start, range.end);
  return Promise.all(
    takers.map(async (host, at) => {
      if (overMs > 0) await clock.sleep((overMs * at) / takers.length);
      return host.take(url, piecesPerSecond);
    }),
  );
}

/** Resolves when all hosts that take it have it; how many never will. */
async function whole(url: string): Promise<number> {
  for (;;) {
    const tasks = hosts.flatMap((host) => host.task(url) ?? []);
    const open = tasks.filter(({ isComplete }) => !isComplete);
    const failed = open.filter(({ failure }) => failure !== undefined);
    if (failed.length === open.length) return failed.length;
    await clock.sleep(LOOK_MS);
  }
}

function traffic(): CrowdAnswers['traffic'] {
  const sum = { sentMessages: 0, sentBytes: 0, receivedMessages: 0, receivedBytes: 0 };
  for (const { traffic: one } of hosts) {
    sum.sentMessages += one.sentMessages;
    sum.sentBytes += one.sentBytes;
    sum.receivedMessages += one.receivedMessages;
    sum.receivedBytes += one.receivedBytes;
  }
  return sum;
}

function calls(): CrowdAnswers['calls'] {
  const sum = { ran: 0, doubled: 0 };
  for (const { calls: one } of hosts) {
    sum.ran += one.ran;
    sum.doubled += one.doubled;
  }
  return sum;
}

function hostAt(at: number): CrowdHost {
  const host = hosts[at];
  if (host === undefined) throw new RangeError(`there is no host ${at}`);
  return host;
}
