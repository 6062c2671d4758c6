import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import test from 'ava';
import { fetchPiece, openedPair } from '../../../test/support/link-channels.ts';
import {
  HandMadePeer,
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
import { CodedError } from '../../base/error.ts';
import { frameTypes } from './frame.ts';

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
