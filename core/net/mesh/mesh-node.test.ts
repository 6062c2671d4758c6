import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys';
import test from 'ava';
import { Wire, addressOf, startNode } from '../../../test/support/mesh-nodes.ts';
import { until } from '../../../test/support/until.ts';
import { CodedError } from '../../base/error.ts';
import type { MeshSession } from './mesh-node.ts';

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

test.serial('MeshNode carries messages between two nodes that know who the other is', async (t) => {
  await using supernode = await startNode({ listens: true });
  await using host = await startNode();
  const accepted = Promise.withResolvers<MeshSession>();
  await supernode.handle(JOIN, { open: 'anyone', maxSessionsPerPeer: 1 }, async (session) => {
    accepted.resolve(session);
    await echo(session);
  });
  const expectedPeerId = supernode.peerId;
  const session = await host.dial(addressOf(supernode), JOIN, { expectedPeerId, signal });
  t.is(session.remotePeerId, supernode.peerId);
  t.is(session.remoteAddress, '127.0.0.1');
  t.deepEqual(await ask(session, { text: 'Ö', list: [1, null] }), { text: 'Ö', list: [1, null] });
  const remote = await accepted.promise;
  t.is(remote.remotePeerId, host.peerId);
  t.is(remote.remoteAddress, '127.0.0.1');
  t.is(host.port, undefined);
  await session.close();
  t.is(await remote.closed, undefined);
  t.is(await session.closed, undefined);
});

test.serial('MeshNode lets members in by their hello, and answers with the welcome', async (t) => {
  await using supernode = await startNode({ listens: true });
  await using host = await startNode();
  supernode.setAdmission(async ({ peerId, remoteAddress, protocol, hello }) => {
    t.is(peerId, host.peerId);
    t.is(remoteAddress, '127.0.0.1');
    t.is(protocol, CONTROL);
    return { welcome: hello };
  });
  const accepted = Promise.withResolvers<MeshSession>();
  await supernode.handle(CONTROL, { open: 'members', maxSessionsPerPeer: 1 }, (session) =>
    accepted.resolve(session),
  );
  const session = await host.dial(addressOf(supernode), CONTROL, { hello: { a: 1 }, signal });
  t.deepEqual(session.welcome, { welcome: { a: 1 } });
  t.deepEqual((await accepted.promise).hello, { a: 1 });
  t.deepEqual((await accepted.promise).welcome, { welcome: { a: 1 } });
  await until(() => supernode.counts.members === 1 && supernode.counts.strangers === 0);
  t.is(supernode.counts.sessions, 1);
  const large = { text: 'x'.repeat(1_000_000) };
  session.send(large);
  for await (const message of (await accepted.promise).receive()) {
    t.deepEqual(message, large);
    break;
  }
});

test.serial('MeshNode tells a refused peer why, and never hands its session over', async (t) => {
  await using supernode = await startNode({ listens: true });
  await using host = await startNode();
  await supernode.handle(CONTROL, { open: 'members', maxSessionsPerPeer: 1 }, () => t.fail());
  const dial = async (hello: unknown) =>
    host.dial(addressOf(supernode), CONTROL, { hello, signal });
  await t.throwsAsync(dial({}), { code: 'ERR_BUSY' }, 'nobody decides yet');
  supernode.setAdmission(async () => {
    throw new CodedError('ERR_NOT_MEMBER', 'no record', { detail: { why: 'expired' } });
  });
  const refusal = await t.throwsAsync(dial({}), { code: 'ERR_NOT_MEMBER', message: 'no record' });
  t.is((refusal as CodedError).detail['why'], 'expired');
  supernode.setAdmission(async () => {
    throw new Error('a secret of the inside');
  });
  const failure = await t.throwsAsync(dial({}), { code: 'ERR_INTERNAL' });
  t.false(failure?.message.includes('secret'));
  // Speaking without a hello does not help either.
  const rude = await host.dial(addressOf(supernode), CONTROL, { signal });
  rude.send({ type: 'register' });
  t.is((await rude.closed)?.code, 'ERR_PROTOCOL');
  t.is(supernode.counts.members, 0);
});

test.serial('MeshNode.dial() names the reason when there is no session to be had', async (t) => {
  await using supernode = await startNode({ listens: true });
  await using host = await startNode();
  const reasonOf = async (address: string, code = 'ERR_MESH_UNAVAILABLE'): Promise<unknown> => {
    const error = await t.throwsAsync(host.dial(address, JOIN, { signal }), { code });
    return (error as CodedError).detail['reason'];
  };
  t.is(await reasonOf(addressOf(supernode)), 'protocol');
  const closed = await startNode({ listens: true });
  await closed.close();
  t.is(await reasonOf(addressOf(closed)), 'ECONNREFUSED');
  t.is(await reasonOf('no-such-host.invalid:8002'), 'name');
  await reasonOf('nonsense', 'ERR_USAGE');
  const toItself = supernode.dial(addressOf(supernode), JOIN, { signal });
  const self = await t.throwsAsync(toItself, { code: 'ERR_MESH_UNAVAILABLE' });
  t.is((self as CodedError).detail['reason'], 'self');
});

test.serial('MeshNode.dial() gives up when told, and after its own time', async (t) => {
  const sockets: Socket[] = [];
  const mute = createServer((socket) => sockets.push(socket));
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
  const address = `127.0.0.1:${(mute.address() as AddressInfo).port}`;
  await using host = await startNode();
  const slow = host.dial(address, JOIN, { signal, timeoutMs: 50 });
  const error = await t.throwsAsync(slow, { code: 'ERR_MESH_UNAVAILABLE' });
  t.is((error as CodedError).detail['reason'], 'timeout');
  const controller = new AbortController();
  const dialling = host.dial(address, JOIN, { signal: controller.signal });
  controller.abort(new CodedError('ERR_INTERRUPTED', 'enough'));
  await t.throwsAsync(dialling, { code: 'ERR_INTERRUPTED', message: 'enough' });
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => mute.close(resolve));
});

test.serial('MeshNode.dial() refuses another peer than expected with ERR_NOT_MEMBER', async (t) => {
  await using supernode = await startNode({ listens: true });
  await using host = await startNode();
  await supernode.handle(JOIN, { open: 'anyone', maxSessionsPerPeer: 1 }, () => t.fail());
  const expectedPeerId = host.peerId;
  await t.throwsAsync(host.dial(addressOf(supernode), JOIN, { expectedPeerId, signal }), {
    code: 'ERR_NOT_MEMBER',
  });
  await until(() => host.counts.outbound === 0);
});

test.serial('MeshNode refuses revoked keys, whoever dials', async (t) => {
  const revoked = new Set<string>();
  const isRevoked = (peerId: string): boolean => revoked.has(peerId);
  await using supernode = await startNode({ listens: true, isRevoked });
  await using host = await startNode();
  await using other = await startNode({ isRevoked });
  await supernode.handle(JOIN, { open: 'anyone', maxSessionsPerPeer: 1 }, echo);
  revoked.add(host.peerId);
  // It is told, whatever it asks for, and gets nothing else.
  const told = { code: 'ERR_NOT_MEMBER', message: /^this host is revoked/ } as const;
  await supernode.handle(CONTROL, { open: 'members', maxSessionsPerPeer: 1 }, () => t.fail());
  supernode.setAdmission(async () => t.fail());
  const dialled = host.dial(addressOf(supernode), CONTROL, { hello: {}, signal });
  await t.throwsAsync(dialled, told);
  await until(() => supernode.counts.strangers === 0);
  const session = await host.dial(addressOf(supernode), JOIN, { signal });
  await t.throwsAsync(ask(session, 1), told);
  await until(() => supernode.counts.sessions === 0 && supernode.counts.strangers === 0);
  t.is(await ask(await other.dial(addressOf(supernode), JOIN, { signal }), 1), 1);
  await other.disconnect(supernode.peerId);
  revoked.add(supernode.peerId);
  await t.throwsAsync(other.dial(addressOf(supernode), JOIN, { signal }), {
    code: 'ERR_NOT_MEMBER',
  });
});

test.serial('MeshNode.disconnect() ends the sessions of one peer, with the reason', async (t) => {
  await using supernode = await startNode({ listens: true });
  await using host = await startNode();
  await using other = await startNode();
  await supernode.handle(JOIN, { open: 'anyone', maxSessionsPerPeer: 2 }, echo);
  const session = await host.dial(addressOf(supernode), JOIN, { signal });
  const kept = await other.dial(addressOf(supernode), JOIN, { signal });
  await ask(session, 1);
  await ask(kept, 1);
  await supernode.disconnect(host.peerId, new CodedError('ERR_NOT_MEMBER', 'revoked'));
  t.is((await session.closed)?.code, 'ERR_NOT_MEMBER');
  await until(() => host.counts.outbound === 0);
  t.is(await ask(kept, 2), 2);
});

test.serial(
  'MeshNode.start() says when the port is taken, the address is not ours, or the key is none',
  async (t) => {
    await using supernode = await startNode({ listens: true });
    const listen = { host: '127.0.0.1', port: supernode.port ?? 0 };
    await t.throwsAsync(startNode({ listen }), { code: 'ERR_ADDRESS_IN_USE' });
    await t.throwsAsync(startNode({ listen: { host: '203.0.113.7', port: 0 } }), {
      code: 'ERR_CONFIG',
    });
    const bad = [Uint8Array.of(1, 2, 3), privateKeyToProtobuf(await generateKeyPair('secp256k1'))];
    for (const privateKeyProtobuf of bad) {
      await t.throwsAsync(startNode({ privateKeyProtobuf }), { code: 'ERR_KEY_FILE' });
    }
  },
);

test.serial('MeshNode listens on v6, and on v4 besides when that is ::', async (t) => {
  await using supernode = await startNode({ listen: { host: '::', port: 0 } });
  await using host = await startNode();
  const accepted: MeshSession[] = [];
  await supernode.handle(JOIN, { open: 'anyone', maxSessionsPerPeer: 9 }, async (session) => {
    accepted.push(session);
    await echo(session);
  });
  for (const name of ['[::1]', '127.0.0.1', 'localhost']) {
    const session = await host.dial(`${name}:${supernode.port}`, JOIN, { signal });
    t.is(await ask(session, name), name);
  }
  t.deepEqual(
    accepted.slice(0, 2).map(({ remoteAddress }) => remoteAddress),
    ['::1', '127.0.0.1'],
  );
});

test.serial(
  'MeshNode shares one connection among the sessions to an address, and closes it when idle',
  async (t) => {
    const limits = { idleConnectionMs: 50 };
    await using supernode = await startNode({ listens: true, limits });
    await using host = await startNode({ limits });
    for (const protocol of [JOIN, CONTROL]) {
      await supernode.handle(protocol, { open: 'anyone', maxSessionsPerPeer: 1 }, echo);
    }
    const first = await host.dial(addressOf(supernode), JOIN, { signal });
    const second = await host.dial(addressOf(supernode), CONTROL, { signal });
    t.is(host.counts.outbound, 1);
    await first.close();
    t.is(await ask(second, 1), 1);
    await second.close();
    await until(() => host.counts.outbound === 0 && supernode.counts.strangers === 0);
    t.is(await ask(await host.dial(addressOf(supernode), JOIN, { signal }), 2), 2);
  },
);

test.serial(
  'MeshNode ends the older session of a peer when a newer one passes the maximum',
  async (t) => {
    await using supernode = await startNode({ listens: true });
    await using host = await startNode();
    await using other = await startNode();
    supernode.setAdmission(async () => null);
    await supernode.handle(CONTROL, { open: 'members', maxSessionsPerPeer: 1 }, echo);
    const dial = async (node: typeof host) =>
      node.dial(addressOf(supernode), CONTROL, { hello: {}, signal });
    const old = await dial(host);
    const elsewhere = await dial(other);
    for (let again = 0; again < 20; again += 1) {
      const newer = await dial(host);
      t.is(await ask(newer, again), again);
    }
    t.is((await old.closed)?.code, 'ERR_BUSY');
    t.is(await ask(elsewhere, 'mine'), 'mine');
  },
);

test.serial(
  'MeshNode ends a session with what its handler throws, and hides what is no coded error',
  async (t) => {
    await using supernode = await startNode({ listens: true });
    await using host = await startNode();
    await supernode.handle(JOIN, { open: 'anyone', maxSessionsPerPeer: 9 }, async (session) => {
      for await (const message of session.receive()) {
        if (message === 'coded') throw new CodedError('ERR_TOKEN', 'the token is used up');
        throw new TypeError('a secret of the inside');
      }
    });
    const coded = await host.dial(addressOf(supernode), JOIN, { signal });
    await t.throwsAsync(ask(coded, 'coded'), {
      code: 'ERR_TOKEN',
      message: 'the token is used up',
    });
    const other = await host.dial(addressOf(supernode), JOIN, { signal });
    const failure = await t.throwsAsync(ask(other, 'other'), { code: 'ERR_INTERNAL' });
    t.false(failure?.message.includes('secret'));
  },
);

test.serial('MeshNode lets 50 hosts of one address in that come at once', async (t) => {
  await using supernode = await startNode({ listens: true });
  supernode.setAdmission(async ({ hello }) => hello);
  await supernode.handle(CONTROL, { open: 'members', maxSessionsPerPeer: 1 }, echo);
  await using stack = new AsyncDisposableStack();
  const hosts = await Promise.all(Array.from({ length: 50 }, async () => startNode()));
  for (const host of hosts) stack.use(host);
  const sessions = await Promise.all(
    hosts.map(async (host, hello) => host.dial(addressOf(supernode), CONTROL, { hello, signal })),
  );
  t.deepEqual(
    sessions.map(({ welcome }) => welcome),
    [...hosts.keys()],
  );
  t.like(supernode.counts, { members: 50, strangers: 0, outbound: 0, sessions: 50 });
});

test.serial('MeshNode notices a peer that is cut off without a word, on both ends', async (t) => {
  const limits = { keepAliveMs: 50 };
  await using supernode = await startNode({ listens: true, limits });
  await using host = await startNode({ limits });
  await using wire = await Wire.to(supernode.port);
  const accepted = Promise.withResolvers<MeshSession>();
  await supernode.handle(
    JOIN,
    { open: 'anyone', maxSessionsPerPeer: 1, deadlineMs: 60_000 },
    (session) => accepted.resolve(session),
  );
  const session = await host.dial(wire.address, JOIN, { signal });
  const remote = await accepted.promise;
  wire.freeze();
  t.is((await session.closed)?.code, 'ERR_LINK');
  t.is((await remote.closed)?.code, 'ERR_LINK');
  await until(() => host.counts.outbound === 0 && supernode.counts.strangers === 0);
});

test.serial('MeshNode notices a connection that breaks, at once', async (t) => {
  await using supernode = await startNode({ listens: true });
  await using host = await startNode();
  await using wire = await Wire.to(supernode.port);
  await supernode.handle(JOIN, { open: 'anyone', maxSessionsPerPeer: 1 }, echo);
  const session = await host.dial(wire.address, JOIN, { signal });
  await ask(session, 1);
  wire.cut();
  await t.throwsAsync(ask(session, 2), { code: 'ERR_LINK' });
});

test.serial(
  'MeshNode.close() says goodbye, takes less than 2 s with a dead peer, and may be called twice',
  async (t) => {
    const supernode = await startNode({ listens: true });
    await using host = await startNode();
    await using lost = await startNode();
    await using wire = await Wire.to(supernode.port);
    await supernode.handle(JOIN, { open: 'anyone', maxSessionsPerPeer: 1 }, echo);
    const session = await host.dial(addressOf(supernode), JOIN, { signal });
    const dead = await lost.dial(wire.address, JOIN, { signal });
    await ask(session, 1);
    await ask(dead, 1);
    wire.freeze();
    const half = connect(supernode.port ?? 0, '127.0.0.1');
    half.on('error', () => undefined);
    await new Promise((resolve) => half.once('connect', resolve));
    const startedAt = performance.now();
    await Promise.all([supernode.close(), supernode.close()]);
    const tookMs = performance.now() - startedAt;
    t.true(tookMs < 2000, `${tookMs}`);
    t.is(await session.closed, undefined);
    await t.throwsAsync(supernode.dial('127.0.0.1:1', JOIN, { signal }), {
      code: 'ERR_INTERRUPTED',
    });
    half.destroy();
  },
);
