import test from 'ava';
import { fetchPiece, openedPair } from '../../../test/support/link-channels.ts';
import {
  MemorySink,
  MemoryTask,
  contentOf,
  newIdentity,
  startHost,
  task,
  ticketFor,
  version,
} from '../../../test/support/link-hosts.ts';
import { until } from '../../../test/support/until.ts';
import { CodedError } from '../../base/error.ts';

test('Link.open() needs a ticket for this child, task and version', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  parent.tasks.set(task, new MemoryTask(contentOf(10), 10));
  const link = await child.endpoint.connect(parent.peer);
  const other = 'c'.repeat(64);
  const wrong = [
    ticketFor(newIdentity().peerId),
    ticketFor(child.peerId, { task: other, version }),
    ticketFor(child.peerId, { task, version: 'd'.repeat(16) }),
    'nonsense',
  ];
  for (const ticket of wrong) {
    await t.throwsAsync(link.open({ task, version, ticket }), { code: 'ERR_TICKET' });
  }
  const unknown = {
    task: other,
    version,
    ticket: ticketFor(child.peerId, { task: other, version }),
  };
  await t.throwsAsync(link.open(unknown), { code: 'ERR_NOT_FOUND' });
  const channel = await link.open({ task, version, ticket: ticketFor(child.peerId) });
  t.true(channel.isOpen);
  t.is(parent.endpoint.stats().refused, 5);
});

test('Link.open() is refused past the limit of channels, and a closed one makes room', async (t) => {
  await using parent = await startHost({ limits: { maxChannels: 2 } });
  await using child = await startHost();
  parent.tasks.set(task, new MemoryTask(contentOf(10), 10));
  const link = await child.endpoint.connect(parent.peer);
  const request = { task, version, ticket: ticketFor(child.peerId) };
  const first = await link.open(request);
  await link.open(request);
  await t.throwsAsync(link.open(request), { code: 'ERR_BUSY' });
  first.close();
  t.is(await first.closed, undefined);
  const third = await link.open(request);
  t.true(third.isOpen);
  t.is(parent.endpoint.stats().channels, 2);
});

test('Link.open() that is aborted leaves no channel behind', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  parent.tasks.set(task, new MemoryTask(contentOf(10), 10));
  const link = await child.endpoint.connect(parent.peer);
  const controller = new AbortController();
  const request = { task, version, ticket: ticketFor(child.peerId) };
  const opening = link.open(request, { signal: controller.signal });
  controller.abort();
  await t.throwsAsync(opening, { code: 'ERR_INTERRUPTED' });
  await until(() => link.isIdle && parent.endpoint.stats().channels === 0);
  const channel = await link.open(request);
  t.true(channel.has(0));
});

test('LinkEndpoint.announce() and retract() reach those who opened the task, or the one named', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  await using other = await startHost();
  const served = new MemoryTask(contentOf(100), 10, { isEmpty: true });
  served.pieces.set(7);
  parent.tasks.set(task, served);
  const heard: unknown[] = [];
  const channel = await openedPair(parent, child, {
    onHave: (pieces) => heard.push({ have: pieces }),
    onUnhave: (pieces) => heard.push({ unhave: pieces }),
  });
  const others = await openedPair(parent, other);
  t.deepEqual(channel.have.indexes(), [7]);
  parent.endpoint.announce({ task, version, pieces: [1, 2] });
  parent.endpoint.announce({ task, version, pieces: [5], to: child.peerId });
  parent.endpoint.announce({ task, version: 'e'.repeat(16), pieces: [9] });
  parent.endpoint.retract({ task, version, pieces: [7] });
  await until(() => heard.length === 3 && !others.has(7));
  const idle = { load: 0 };
  t.deepEqual(heard, [
    { have: { pieces: [1, 2], isOffer: false, ...idle } },
    { have: { pieces: [5], isOffer: true, ...idle } },
    { unhave: [7] },
  ]);
  t.deepEqual(channel.have.indexes(), [1, 2, 5]);
  t.deepEqual(others.have.indexes(), [1, 2]);
});

test('Channel takes announcements of a task whose length is unknown', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  const served = new MemoryTask(contentOf(4000), 1, { isEmpty: true });
  served.isLengthKnown = false;
  parent.tasks.set(task, served);
  const channel = await openedPair(parent, child);
  t.is(channel.have.pieceCount, undefined);
  served.pieces.set(3999);
  parent.endpoint.announce({ task, version, pieces: [3999, 500_000] });
  await until(() => channel.has(500_000));
  const sink = await fetchPiece(channel, served, 3999);
  t.is(sink.bytes[0], served.content[3999]);
});

test('manifest batches are asked for, offered, and passed back', async (t) => {
  const passedBack: unknown[] = [];
  await using parent = await startHost({
    events: { onOffered: (offered) => void passedBack.push(offered) },
  });
  await using child = await startHost();
  const served = new MemoryTask(contentOf(10), 10);
  served.batches.push(
    ...Array.from({ length: 300 }, (_, at) => `v1.manifest.${at}${'m'.repeat(3000)}`),
  );
  parent.tasks.set(task, served);
  const heard: string[] = [];
  const channel = await openedPair(parent, child, {
    onManifest: (batches) => heard.push(...batches),
  });
  channel.askManifest();
  await until(() => heard.length === 300);
  t.deepEqual(heard, served.batches);
  parent.endpoint.offerManifest({ task, version, batches: ['v1.manifest.new'] });
  await until(() => heard.length === 301);
  t.is(heard.at(-1), 'v1.manifest.new');
  channel.sendManifest(['v1.provisional.mine']);
  await until(() => passedBack.length === 1);
  t.deepEqual(passedBack, [
    { peerId: child.peerId, task, version, batches: ['v1.provisional.mine'] },
  ]);
});

function gone(): never {
  throw new CodedError('ERR_NOT_FOUND', 'the task is dropped');
}

test('a task that goes away while it is served is refused with its code, and the link goes on', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  const served = new MemoryTask(contentOf(100), 10);
  parent.tasks.set(task, served);
  const channel = await openedPair(parent, child);
  served.has = gone;
  served.manifest = gone;
  const fetching = channel.fetch({ piece: 0, length: 10, sink: new MemorySink(10) });
  await t.throwsAsync(fetching, { code: 'ERR_NOT_FOUND' });
  channel.askManifest();
  t.is((await channel.closed)?.code, 'ERR_NOT_FOUND');
  served.haveMap = gone;
  await t.throwsAsync(openedPair(parent, child), { code: 'ERR_NOT_FOUND' });
  t.is(parent.endpoint.stats().links, 1);
  t.is(parent.endpoint.stats().channels, 0);
});

test('Channel.close() fails its fetches alone', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  const served = new MemoryTask(contentOf(16_000_000), 8_000_000);
  parent.tasks.set(task, served);
  const closing = await openedPair(parent, child);
  const staying = await openedPair(parent, child);
  const sink = new MemorySink(8_000_000);
  const cut = closing.fetch({ piece: 0, length: 8_000_000, sink });
  const whole = fetchPiece(staying, served, 1);
  closing.close();
  closing.close();
  await t.throwsAsync(cut, { code: 'ERR_LINK' });
  t.is(sink.aborted, 1);
  t.is(await closing.closed, undefined);
  t.true((await whole).bytes.equals(served.pieceOf(1)));
  await until(() => parent.endpoint.stats().channels === 1);
});

test('LinkEndpoint.withdraw() closes the channels of others on the task', async (t) => {
  await using parent = await startHost();
  await using child = await startHost();
  parent.tasks.set(task, new MemoryTask(contentOf(10), 10));
  const channel = await openedPair(parent, child);
  parent.endpoint.withdraw({ task, version });
  const error = await channel.closed;
  t.is(error?.code, 'ERR_NOT_FOUND');
  await t.throwsAsync(channel.fetch({ piece: 0, length: 10, sink: new MemorySink(10) }), {
    code: 'ERR_LINK',
  });
  await until(() => parent.endpoint.stats().channels + child.endpoint.stats().channels === 0);
  t.is(child.endpoint.stats().links, 1);
});

test('Link.close() ends the channels on both sides and says why', async (t) => {
  const closed: string[] = [];
  await using parent = await startHost({
    events: { onLinkClosed: (link, error) => void closed.push(`${link.peerId} ${error.code}`) },
  });
  await using child = await startHost();
  const served = new MemoryTask(contentOf(8_000_000), 8_000_000);
  parent.tasks.set(task, served);
  const channel = await openedPair(parent, child);
  const fetching = channel.fetch({ piece: 0, length: 8_000_000, sink: new MemorySink(8_000_000) });
  const [link] = child.endpoint.links();
  link?.close(new CodedError('ERR_NOT_MEMBER', 'go away'));
  await t.throwsAsync(fetching, { code: 'ERR_NOT_MEMBER' });
  t.is((await channel.closed)?.code, 'ERR_NOT_MEMBER');
  t.is((await link?.closed)?.code, 'ERR_NOT_MEMBER');
  await until(() => parent.endpoint.stats().links === 0);
  t.deepEqual(closed, [`${child.peerId} ERR_NOT_MEMBER`]);
  await t.throwsAsync(link?.open({ task, version, ticket: 'x' }) ?? Promise.resolve(), {
    code: 'ERR_LINK',
  });
});
