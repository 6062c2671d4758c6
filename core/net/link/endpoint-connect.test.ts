import test from 'ava';
import { fetchPiece, openedPair } from '../../../test/support/link-channels.ts';
import {
  HandMadeServer,
  MemoryTask,
  contentOf,
  newIdentity,
  startHost,
  task,
} from '../../../test/support/link-hosts.ts';
import { until } from '../../../test/support/until.ts';

const KIB = 1024;

for (const encryption of ['tls', 'none'] as const) {
  test(`LinkEndpoint.connect() uses the link of a peer that cannot be dialled, in both directions (${encryption})`, async (t) => {
    await using one = await startHost({ encryption });
    await using other = await startHost({ encryption });
    const served = new MemoryTask(contentOf(900_000), 256 * KIB);
    for (const host of [one, other]) host.tasks.set(task, served);
    const there = await openedPair(one, other);
    const back = await openedPair({ ...other, peer: { peerId: other.peerId, addresses: [] } }, one);
    t.is(one.endpoint.stats().links, 1);
    t.is(other.endpoint.stats().links, 1);
    t.is(one.endpoint.stats().channels, 2);
    const sinks = await Promise.all(
      [there, back].flatMap((channel) =>
        [0, 1, 2, 3].map(async (piece) => fetchPiece(channel, served, piece)),
      ),
    );
    for (const [index, { bytes }] of sinks.entries())
      t.true(bytes.equals(served.pieceOf(index % 4)));
  });
}

test('LinkEndpoint.connect() dials beside the link that the peer has dialled, and keeps to its own', async (t) => {
  await using one = await startHost();
  await using other = await startHost();
  await one.endpoint.connect(other.peer);
  await other.endpoint.connect(one.peer);
  await until(() => [one, other].every(({ endpoint }) => endpoint.stats().links === 2));
  t.is((await one.endpoint.connect(other.peer)).side, 'dialler');
  t.is((await other.endpoint.connect(one.peer)).side, 'dialler');
});

test('LinkEndpoint.connect() tries once to dial beside the link of a peer that does not answer', async (t) => {
  await using mute = await HandMadeServer.listen('none', true);
  await using one = await startHost({ limits: { dialBesideMs: 100, handshakeMs: 60_000 } });
  await using other = await startHost();
  await other.endpoint.connect(one.peer);
  await until(() => one.endpoint.stats().links === 1);
  const peer = { peerId: other.peerId, addresses: mute.peer.addresses };
  for (let time = 0; time < 3; time += 1) {
    const back = await one.endpoint.connect(peer);
    t.is(back.side, 'listener');
    t.is(back.peerId, other.peerId);
  }
  t.is(mute.peers.length, 1, 'it was dialled once');
});

test('LinkEndpoint.connect() dials a peer once for all who ask, and keeps the link', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  const links = await Promise.all([1, 2, 3].map(async () => child.endpoint.connect(parent.peer)));
  t.is(new Set(links).size, 1);
  t.true(links.includes(await child.endpoint.connect(parent.peer)));
  t.is(parent.endpoint.stats().links, 1);
  t.is(links[0]?.remoteAddress, parent.peer.addresses[0]);
  t.is(links[0]?.peerId, parent.peerId);
});

test('LinkEndpoint.connect() refuses whoever is not the peer that was dialled', async (t) => {
  for (const encryption of ['tls', 'none'] as const) {
    await using parent = await startHost({ encryption });
    await using child = await startHost({ encryption });
    const { addresses } = parent.peer;
    const other = { peerId: newIdentity().peerId, addresses };
    await t.throwsAsync(child.endpoint.connect(other), { code: 'ERR_NOT_MEMBER' });
    await until(() => parent.endpoint.stats().unauthenticated === 0);
    t.is(parent.endpoint.stats().links, 0);
    const itself = { peerId: child.peerId, addresses };
    await t.throwsAsync(child.endpoint.connect(itself), { code: 'ERR_LINK' });
  }
});

test('LinkEndpoint.connect() finds the peer behind another address when one leads elsewhere', async (t) => {
  await using stranger = await startHost();
  await using parent = await startHost();
  await using child = await startHost();
  const addresses = [...stranger.peer.addresses, '127.0.0.1:1', ...parent.peer.addresses];
  const link = await child.endpoint.connect({ peerId: parent.peerId, addresses });
  t.deepEqual([link.remoteAddress], parent.peer.addresses);
});

test('LinkEndpoint.connect() fails soon when nobody is there, or nobody who speaks as we do', async (t) => {
  await using clear = await startHost({ encryption: 'none' });
  await using child = await startHost();
  const nobody = { peerId: clear.peerId, addresses: ['127.0.0.1:1'] };
  await t.throwsAsync(child.endpoint.connect(nobody), { code: 'ERR_LINK' });
  await t.throwsAsync(child.endpoint.connect(clear.peer), { code: 'ERR_LINK' });
  await t.throwsAsync(clear.endpoint.connect(child.peer), { code: 'ERR_LINK' });
});

test('LinkEndpoint.connect() stops at the abort, with its reason', async (t) => {
  await using child = await startHost();
  await using parent = await startHost();
  const controller = new AbortController();
  const connecting = child.endpoint.connect(parent.peer, { signal: controller.signal });
  controller.abort(new DOMException('too late', 'TimeoutError'));
  await t.throwsAsync(connecting, { code: 'ERR_TIMEOUT' });
  const { signal } = controller;
  await t.throwsAsync(child.endpoint.connect(parent.peer, { signal }), { code: 'ERR_TIMEOUT' });
});

test('LinkEndpoint gives up a dial whose peer does not authenticate in time', async (t) => {
  for (const encryption of ['tls', 'none'] as const) {
    await using child = await startHost({ encryption, limits: { handshakeMs: 500 } });
    await using mute = await HandMadeServer.listen(encryption, true);
    await t.throwsAsync(child.endpoint.connect(mute.peer), { code: 'ERR_LINK' });
  }
});
