import test from 'ava';
import { SystemClock } from '../../core/base/clock.ts';
import { issueTicket } from '../../core/identity/ticket.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { frameTypes } from '../../core/net/link/frame.ts';
import type { Engine } from '../../core/swarm/engine.ts';
import { Rogue } from '../support/rogue.ts';
import type { RogueLink } from '../support/rogue.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const PIECE = 256 * 1024;
const wallTime = (): number => new SystemClock().now();
const content = { seed: 3, length: 2 * MIB } as const;

/** What a link gets that opens a task: `OPENED`, the code of the refusal, or how the link ended. */
async function opening(link: RogueLink): Promise<string> {
  const frame = await link.next(frameTypes.opened, frameTypes.refused);
  if (frame === undefined) return `closed ${link.goodbye}`;
  return frame.header.type === frameTypes.opened ? 'OPENED' : frame.payload.toString();
}

async function hostWith(
  swarm: TestSwarm,
  path = '/f',
): Promise<{ host: Engine; port: number; task: string; version: string }> {
  swarm.origin.set(path, { content });
  const host = await swarm.host('host');
  const { task, version } = doneOf(await swarm.download(host, { url: swarm.origin.url(path) }));
  return { host, port: host.pool.linkPort ?? 0, task, version };
}

test('a ticket opens its task and version to its holder, and nothing else to nobody else', async (t) => {
  await using swarm = await TestSwarm.start();
  const { host, port, task, version } = await hostWith(swarm);
  const { authority, linkPort: seedPort } = swarm.supernode;
  swarm.origin.set('/other', { content: { seed: 4, length: MIB } });
  const other = doneOf(await swarm.download(host, { url: swarm.origin.url('/other') }));
  await using rogue = await Rogue.member(swarm.supernode);
  await using neighbour = await Rogue.member(swarm.supernode);
  const child = rogue.peerId;
  const good = authority.ticket({ task, version, scope: task, child });
  const now = wallTime();
  const statement = { task, version, scope: task, child, now };
  const otherVersion = 'f'.repeat(16);
  const tickets = {
    'of another host': authority.ticket({ task, version, scope: task, child: neighbour.peerId }),
    'for another task': authority.ticket({ ...statement, task: other.task }),
    'for another version': authority.ticket({ ...statement, version: otherVersion }),
    expired: issueTicket(authority.key, { ...statement, now: now - 3_600_000, ttlMs: 60_000 }),
    'signed by its holder': issueTicket(rogue.key, statement),
    'signed by a stranger': issueTicket(HostKey.generate(), statement),
    altered: good.replace(/\.[^.]*$/, '.AAAA'),
    'that is a record': rogue.record,
    'that is empty of meaning': 'x',
  };
  for (const at of [port, seedPort]) {
    const link = await rogue.link(at);
    let channel = 1;
    for (const [title, ticket] of Object.entries(tickets)) {
      link.open({ task, version, ticket, channel });
      t.is(await opening(link), 'ERR_TICKET', `a ticket ${title}`);
      channel += 2;
    }
    link.open({ task, version, ticket: good, channel });
    t.is(await opening(link), 'OPENED');
    // The open channel is for that task alone: what the good ticket names is what is read.
    link.send({ type: frameTypes.request, channel, a: 0, b: PIECE });
    const frame = await link.next(frameTypes.data, frameTypes.miss);
    t.is(frame?.header.type, frameTypes.data);
  }
});

test('a ticket that is renewed with a bad one is closed at the next look', async (t) => {
  await using swarm = await TestSwarm.start();
  const { host, port, task, version } = await hostWith(swarm);
  await using rogue = await Rogue.member(swarm.supernode);
  const { authority } = swarm.supernode;
  const statement = { task, version, scope: task, child: rogue.peerId };
  const link = await rogue.link(port);
  link.open({ task, version, ticket: authority.ticket(statement) });
  t.is(await opening(link), 'OPENED');
  const expired = { ...statement, now: wallTime() - 3_600_000, ttlMs: 60_000 };
  link.send({ type: frameTypes.ticket, channel: 1 }, issueTicket(authority.key, expired));
  const record = authority.ownRecord();
  await host.pool.setTrust({
    cell: authority.trust.toData(),
    record,
    now: wallTime(),
    isSupervised: true,
  });
  const closed = await link.next(frameTypes.close);
  t.is(closed?.payload.toString(), 'ERR_TICKET');
});

test('a revoked host is put out at once: by the supernode, by hosts, by the seed, and for good', async (t) => {
  await using swarm = await TestSwarm.start();
  const { port, task, version } = await hostWith(swarm);
  const { authority, linkPort: seedPort, meshPort } = swarm.supernode;
  await using rogue = await Rogue.member(swarm.supernode);
  const address = `127.0.0.1:${meshPort}`;
  const control = await rogue.control(address);
  t.true(await control.synced());
  const child = rogue.peerId;
  const ticket = authority.ticket({ task, version, scope: task, child });
  const links = [await rogue.link(port), await rogue.link(seedPort)];
  for (const link of links) {
    link.open({ task, version, ticket });
    t.is(await opening(link), 'OPENED');
  }

  await authority.revoke(child);

  await Promise.all(links.map(async (link) => link.closed));
  for (const link of links) t.is(link.goodbye, 'ERR_NOT_MEMBER');
  await control.session.closed;
  await t.throwsAsync(rogue.control(address));
  for (const at of [port, seedPort]) {
    const again = await rogue.link(at);
    t.false(again.isReady);
  }
  const token = await authority.createToken({ ttlMs: 3_600_000, role: 'host' });
  await t.throwsAsync(rogue.join(address, token));
  await until(() => !swarm.supernode.table.hosts.has(child));
});

test('a host that was away when another was revoked learns it when it comes back', async (t) => {
  await using swarm = await TestSwarm.start();
  const { host, task, version } = await hostWith(swarm);
  await using rogue = await Rogue.member(swarm.supernode);
  const { authority } = swarm.supernode;
  const ticket = authority.ticket({ task, version, scope: task, child: rogue.peerId });
  await host[Symbol.asyncDispose]();
  await authority.revoke(rogue.peerId);
  const back = await swarm.host('host');
  await until(() => back.member?.client.isConnected === true);
  const link = await rogue.link(back.pool.linkPort ?? 0);
  link.open({ task, version, ticket });
  await link.closed;
  t.is(link.frames.length, 0);
});

test('private content is opened to no member that the origin was not asked for', async (t) => {
  await using swarm = await TestSwarm.start();
  const authorization = 'Bearer good';
  swarm.origin.set('/private', { content, authorization });
  const url = swarm.origin.url('/private');
  const rich = await swarm.host('rich');
  const { task, version } = doneOf(await swarm.download(rich, { url, headers: { authorization } }));
  await using thief = await Rogue.member(swarm.supernode);
  const control = await thief.control(`127.0.0.1:${swarm.supernode.meshPort}`, { linkPort: 9 });

  control.say({ type: 'register', id: 1, task, spec: { url } });
  t.like(await control.next('rejected'), { error: { code: 'ERR_ORIGIN_REFUSED' } });
  control.say({ type: 'renew-ticket', task, version });
  control.say({ type: 'more-parents', task, version, reason: 'please' });
  const shape = { version, pieceLength: PIECE, length: content.length, validators: {} };
  const holding = { version, pieces: '' };
  const announce = { type: 'announce', task, shape, holding, manifest: [] };
  control.say({ ...announce, active: true });
  control.say({ ...announce, active: true, spec: { url } });
  control.say({ type: 'renew-ticket', task, version });
  control.say({ type: 'more-parents', task, version, reason: 'please' });
  t.true(await control.synced());
  // News leave a moment after they are made; a second round lets them all come.
  swarm.origin.set('/public', { content: { seed: 9, length: MIB } });
  doneOf(await swarm.download(rich, { url: swarm.origin.url('/public') }));
  t.true(await control.synced());
  const given = control.heard.filter(
    (message) => 'ticket' in message || 'parents' in message || 'manifest' in message,
  );
  t.deepEqual(given, []);
});

test('a member cannot put content of its own in the place of another task', async (t) => {
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/good', { content });
  swarm.origin.set('/evil', { content: { seed: 666, length: content.length } });
  const [good, evil] = [swarm.origin.url('/good'), swarm.origin.url('/evil')];
  const victim = await swarm.host('victim');
  const { task, version } = doneOf(await swarm.download(victim, { url: good }));
  await using rogue = await Rogue.member(swarm.supernode);
  const control = await rogue.control(`127.0.0.1:${swarm.supernode.meshPort}`);

  control.say({ type: 'register', id: 1, task, spec: { url: evil } });
  t.like(await control.next('rejected'), { error: { code: 'ERR_REQUEST' } });
  const etag = `"seed-666-${content.length}"`;
  const shape = { pieceLength: PIECE, length: content.length, validators: { etag } };
  for (const claimed of [version, 'e'.repeat(16)]) {
    control.say({
      type: 'announce',
      task,
      shape: { ...shape, version: claimed },
      holding: { version: claimed, pieces: '' },
      manifest: [],
      active: true,
      spec: { url: evil },
    });
    t.like(await control.next('update'), { failed: { code: 'ERR_REQUEST' } });
  }
  const other = await swarm.host('other');
  const done = doneOf(await swarm.download(other, { url: good }));
  t.is(done.version, version);
  t.is(swarm.origin.stats('/evil').requests, 0);
});
