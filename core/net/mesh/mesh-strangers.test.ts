import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import type { Connection, Libp2p } from '@libp2p/interface';
import { tcp } from '@libp2p/tcp';
import { multiaddr } from '@multiformats/multiaddr';
import test from 'ava';
import { createLibp2p } from 'libp2p';
import { addressOf, startNode } from '../../../test/support/mesh-nodes.ts';
import { until } from '../../../test/support/until.ts';
import { ManualClock } from '../../base/clock.ts';
import type { MeshNode, MeshSession } from './mesh-node.ts';

const JOIN = '/test/join/1';
const CONTROL = '/test/control/1';
const signal = new AbortController().signal;

async function echo(session: MeshSession): Promise<void> {
  for await (const message of session.receive()) session.send(message);
}

async function ask(session: MeshSession, message: unknown): Promise<unknown> {
  session.send(message);
  for await (const answer of session.receive()) return answer;
  return undefined;
}

/** A socket to the node's port that notes when it is closed. */
async function knock(
  node: MeshNode,
  bytes?: Uint8Array,
): Promise<{ socket: Socket; closed: Promise<void> }> {
  const socket = connect(node.port ?? 0, '127.0.0.1');
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await Promise.race([
    closed,
    new Promise<void>((resolve) => socket.once('connect', () => resolve())),
  ]);
  socket.resume();
  if (bytes !== undefined) socket.write(bytes);
  return { socket, closed };
}

/** A node of libp2p's own, to misbehave with. */
async function rawNode(): Promise<Libp2p & AsyncDisposable> {
  const node = await createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
  });
  return Object.assign(node, { [Symbol.asyncDispose]: async () => node.stop() });
}

async function rawDial(raw: Libp2p, node: MeshNode): Promise<Connection> {
  return raw.dial(multiaddr(`/ip4/127.0.0.1/tcp/${node.port}`));
}

test.serial(
  'MeshNode survives garbage on its port, closes it, and serves others meanwhile',
  async (t) => {
    await using supernode = await startNode({ listens: true, limits: { upgradeMs: 2_000 } });
    await using host = await startNode();
    await supernode.handle(JOIN, { open: 'anyone', maxSessionsPerPeer: 1 }, echo);
    const garbage = [
      Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
      Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]),
      Buffer.alloc(100_000, 0xff),
      Buffer.alloc(100_000, 0),
      Buffer.from('\x13/multistream/1.0.0\n\x07/noise\nnot a handshake'),
      Buffer.from('\x13/multistream/1.0.0\n\x07/noise\n\xff\xff'),
    ];
    const knocks = await Promise.all(garbage.map(async (bytes) => knock(supernode, bytes)));
    const session = await host.dial(addressOf(supernode), JOIN, { signal });
    t.is(await ask(session, 'well'), 'well');
    await Promise.all(knocks.map(async ({ closed }) => closed));
    await until(() => supernode.counts.strangers === 1);
    t.is(await ask(session, 'still well'), 'still well');
  },
);

test.serial(
  'MeshNode gives half-open connections their time and no more, and one address no more than its share',
  async (t) => {
    const limits = { upgradeMs: 3_000, maxStrangersPerAddress: 5 };
    await using supernode = await startNode({ listens: true, limits });
    await using host = await startNode();
    await supernode.handle(JOIN, { open: 'anyone', maxSessionsPerPeer: 1 }, echo);
    const knocks = await Promise.all(Array.from({ length: 5 }, async () => knock(supernode)));
    await until(() => supernode.counts.strangers === 5);
    const refused = await knock(supernode);
    await refused.closed;
    await t.throwsAsync(host.dial(addressOf(supernode), JOIN, { signal }), {
      code: 'ERR_MESH_UNAVAILABLE',
    });
    t.is(supernode.counts.strangers, 5);
    await Promise.all(knocks.map(async ({ closed }) => closed));
    await until(() => supernode.counts.strangers === 0);
    t.is(await ask(await host.dial(addressOf(supernode), JOIN, { signal }), 1), 1);
  },
);

test.serial('MeshNode holds a stranger to the deadline of each step, and of all', async (t) => {
  const clock = new ManualClock();
  const limits = { stepMs: 5_000, strangerMs: 30_000, idleConnectionMs: 4_000 };
  await using supernode = await startNode({ listens: true, limits, clock });
  await using host = await startNode();
  await using raw = await rawNode();
  await supernode.handle(JOIN, { open: 'anyone', maxSessionsPerPeer: 1 }, echo);
  await supernode.handle(CONTROL, { open: 'members', maxSessionsPerPeer: 1 }, echo);
  supernode.setAdmission(async () => null);

  // No session at all.
  const idle = await rawDial(raw, supernode);
  await until(() => supernode.counts.strangers === 1 && supernode.counts.handshaking === 0);
  clock.advance(3_999);
  t.is(idle.status, 'open');
  clock.advance(1);
  await until(() => idle.status !== 'open');

  // A session, and not a word.
  const silent = await host.dial(addressOf(supernode), JOIN, { signal });
  await until(() => supernode.counts.sessions === 1);
  clock.advance(5_000);
  t.is((await silent.closed)?.code, 'ERR_TIMEOUT');
  const noHello = await host.dial(addressOf(supernode), CONTROL, { signal });
  await until(() => supernode.counts.sessions === 1);
  clock.advance(5_000);
  t.is((await noHello.closed)?.code, 'ERR_TIMEOUT');

  // A word at a time, for ever.
  await using other = await startNode();
  const chatty = await other.dial(addressOf(supernode), JOIN, { signal });
  for (let second = 0; second < 28; second += 4) {
    t.is(await ask(chatty, second), second);
    clock.advance(4_000);
  }
  t.is(await ask(chatty, 'more'), 'more');
  clock.advance(2_000);
  await t.throwsAsync(ask(chatty, 'and more'), { code: 'ERR_LINK' });

  // A member stays.
  const member = await host.dial(addressOf(supernode), CONTROL, { hello: {}, signal });
  for (let second = 0; second < 60; second += 4) {
    clock.advance(4_000);
    t.is(await ask(member, second), second);
  }
});

test.serial(
  'MeshNode counts members apart: strangers do not keep them out, nor the other way round',
  async (t) => {
    const limits = { maxStrangersPerAddress: 3, maxConnections: 4 };
    await using supernode = await startNode({ listens: true, limits });
    supernode.setAdmission(async () => null);
    await supernode.handle(CONTROL, { open: 'members', maxSessionsPerPeer: 1 }, echo);
    await using stack = new AsyncDisposableStack();
    for (let index = 0; index < 4; index += 1) {
      const host = stack.use(await startNode());
      const session = await host.dial(addressOf(supernode), CONTROL, { hello: {}, signal });
      t.is(await ask(session, index), index);
    }
    const oneTooMany = stack.use(await startNode());
    await t.throwsAsync(oneTooMany.dial(addressOf(supernode), CONTROL, { hello: {}, signal }), {
      code: 'ERR_BUSY',
    });
    t.is(supernode.counts.members, 4);
  },
);

test.serial(
  'MeshNode drops a peer that asks and never reads, instead of keeping the answers',
  async (t) => {
    await using supernode = await startNode({ listens: true });
    await using host = await startNode();
    await using raw = await rawNode();
    const lenient = { open: 'anyone', maxSessionsPerPeer: 1, deadlineMs: 60_000 } as const;
    await supernode.handle(JOIN, lenient, echo);
    const session = await host.dial(addressOf(supernode), JOIN, { signal });
    const connection = await rawDial(raw, supernode);
    // Pings of yamux are answered below the sessions. The peer stops reading its socket and goes on asking.
    const { muxer, maConn } = connection as unknown as {
      muxer: { send(bytes: Uint8Array): boolean };
      maConn: { socket: Socket };
    };
    maConn.socket.pause();
    const pings = Buffer.concat(
      Array.from({ length: 4096 }, () => Buffer.from([0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7])),
    );
    let bursts = 0;
    while (supernode.counts.strangers === 2 && bursts < 2_000) {
      if (muxer.send(pings)) bursts += 1;
      await new Promise((resolve) => setImmediate(resolve));
    }
    t.is(supernode.counts.strangers, 1, `after ${bursts} bursts`);
    maConn.socket.destroy();
    t.is(await ask(session, 'well'), 'well');
  },
);
