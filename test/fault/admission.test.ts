import test from 'ava';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { SystemRandom } from '../../core/base/random.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { issueRecord } from '../../core/identity/membership.ts';
import { MeshNode } from '../../core/net/mesh/mesh-node.ts';
import { protocols } from '../../core/wire/messages.ts';
import { Rogue } from '../support/rogue.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';

const HOUR_MS = 3_600_000;
const MIB = 1024 * 1024;

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'admitted';
  } catch (error) {
    return CodedError.from(error).code;
  }
}

test('a token gives the role and idc that it grants, whatever its holder claims', async (t) => {
  await using swarm = await TestSwarm.start();
  const { authority, meshPort } = swarm.supernode;
  const address = `127.0.0.1:${meshPort}`;
  const granted = { ttlMs: HOUR_MS, role: 'host', idc: 'east' } as const;
  const token = await authority.createToken(granted);
  await using claimant = await Rogue.start();

  t.is(await codeOf(claimant.join(address, token, { role: 'seed' })), 'ERR_TOKEN_GRANT');
  t.is(await codeOf(claimant.join(address, token, { idc: 'west' })), 'ERR_TOKEN_GRANT');
  t.is(await codeOf(claimant.join(address, token, { idc: 'ea|st' })), 'ERR_TOKEN_GRANT');
  const { record } = await claimant.join(address, token);
  const { role, idc } = authority.verifyMember(record, claimant.peerId);
  t.deepEqual({ role, idc }, { role: 'host', idc: 'east' });

  const free = await authority.createToken({ ttlMs: HOUR_MS, role: 'host' });
  t.is(await codeOf(claimant.join(address, free, { role: 'seed', idc: 'x' })), 'ERR_TOKEN_GRANT');
});

test('a host whose token does not grant what it asks for takes no part, and its daemon is told why', async (t) => {
  await using swarm = await TestSwarm.start();
  const { authority } = swarm.supernode;
  swarm.origin.set('/f', { content: { seed: 1, length: MIB } });
  const joinToken = await authority.createToken({ ttlMs: HOUR_MS, role: 'host', idc: 'east' });
  const host = await swarm.host('pretender', { joinToken, idc: 'west', wantsSeed: true });
  const event = await swarm.download(host, { url: swarm.origin.url('/f') });
  t.is(event.type === 'failed' ? event.code : event.type, 'ERR_TOKEN_GRANT');
  t.is(host.member?.record, undefined);
  t.is(swarm.supernode.table.hosts.size, 0);
});

test('an expired, used-up, foreign, wrong-network, deleted or garbled token admits nobody', async (t) => {
  await using swarm = await TestSwarm.start();
  const { authority, meshPort } = swarm.supernode;
  const address = `127.0.0.1:${meshPort}`;
  const host = { ttlMs: HOUR_MS, role: 'host' } as const;
  await using first = await Rogue.start();
  await using second = await Rogue.start();

  const once = await authority.createToken({ ...host, uses: 1 });
  await first.join(address, once);
  t.is(await codeOf(second.join(address, once)), 'ERR_TOKEN', 'used up');
  t.is(await codeOf(first.join(address, once)), 'admitted', 'its user may come again');

  const elsewhere = await authority.createToken({ ...host, cidr: '10.9.0.0/16' });
  t.is(await codeOf(second.join(address, elsewhere)), 'ERR_TOKEN', 'another network');

  const brief = await authority.createToken({ ...host, ttlMs: 1 });
  await new SystemClock().sleep(2);
  t.is(await codeOf(second.join(address, brief)), 'ERR_TOKEN', 'expired');

  const deleted = await authority.createToken(host);
  const [{ id } = { id: '' }] = (await authority.tokens()).toReversed();
  t.true(await authority.deleteToken(id));
  t.is(await codeOf(second.join(address, deleted)), 'ERR_TOKEN', 'deleted');

  const good = await authority.createToken(host);
  for (const at of [8, 40, 90, 150, good.length - 1]) {
    const letter = good[at] === 'A' ? 'B' : 'A';
    const garbled = good.slice(0, at) + letter + good.slice(at + 1);
    const code = await codeOf((async () => second.join(address, garbled))());
    t.true(['ERR_TOKEN', 'ERR_SIGNATURE'].includes(code), `letter ${at}: ${code}`);
  }
  for (const garbage of ['', 'odt1_', `odt1_${'A'.repeat(300)}`, good.slice(0, -9), `${good}AA`]) {
    t.is(await codeOf((async () => second.join(address, garbage))()), 'ERR_TOKEN');
  }
  t.is(await codeOf(second.join(address, good)), 'admitted', 'and the good one still holds');
});

test('an outsider gets nothing on either plane, with no record, a foreign one, or a stolen one', async (t) => {
  await using swarm = await TestSwarm.start();
  const { authority, meshPort, linkPort } = swarm.supernode;
  const address = `127.0.0.1:${meshPort}`;
  swarm.origin.set('/f', { content: { seed: 2, length: MIB } });
  const host = await swarm.host('host');
  const { task, version } = doneOf(await swarm.download(host, { url: swarm.origin.url('/f') }));
  const hostPort = host.pool.linkPort ?? 0;
  await using member = await Rogue.member(swarm.supernode);
  await using outsider = await Rogue.start();
  const { peerId } = outsider;
  const stranger = HostKey.generate();
  const own = { role: 'host', idc: 'default', now: new SystemClock().now() } as const;
  const records = {
    none: '',
    garbage: 'v1.record.e30.x.y',
    'signed by nobody of the cell': issueRecord(stranger, { ...own, peerId }),
    'signed by itself': issueRecord(outsider.key, { ...own, peerId }),
    'of another host': member.record,
    'signed by a member': issueRecord(member.key, { ...own, peerId }),
  };
  const about = { task, version, scope: task, child: peerId };
  const ticket = authority.ticket(about);
  for (const [title, record] of Object.entries(records)) {
    const code = await codeOf(outsider.control(address, { record }));
    t.true(['ERR_NOT_MEMBER', 'ERR_SIGNATURE'].includes(code), `control, record ${title}: ${code}`);
    for (const port of [linkPort, hostPort]) {
      const link = await outsider.link(port, { record });
      t.false(link.isReady, `link, record ${title}`);
      link.open({ task, version, ticket });
      await link.closed;
      t.is(link.frames.length, 0, `link, record ${title}`);
    }
  }
  t.false(swarm.supernode.table.hosts.has(peerId));
  t.is((await host.pool.stats()).bytesOut, 0);
});

test('a supernode of another cell, or a liar that shows the certificates of ours, never learns the secret', async (t) => {
  await using ours = await TestSwarm.start();
  await using theirs = await TestSwarm.start();
  const token = await ours.supernode.authority.createToken({ ttlMs: HOUR_MS, role: 'host' });
  const { s: secret } = JSON.parse(
    Buffer.from(token.slice('odt1_'.length), 'base64url').toString(),
  ) as { s: string };
  await using host = await Rogue.start();

  // The supernode of the other cell is honest but for being another: nothing of ours is redeemed or counted there.
  const foreign = host.join(`127.0.0.1:${theirs.supernode.meshPort}`, token);
  t.true(['ERR_SIGNATURE', 'ERR_NOT_MEMBER'].includes(await codeOf(foreign)));
  t.is(theirs.supernode.authority.joins.get('ERR_TOKEN'), undefined);

  // Certificates are public: this one shows ours over its own key, and notes every word it is told.
  const heard: unknown[] = [];
  await using liar = await MeshNode.start({
    privateKeyProtobuf: HostKey.generate().libp2pPrivateKey(),
    listen: { host: '127.0.0.1', port: 0 },
    clock: new SystemClock(),
    random: new SystemRandom(),
    log: silentLog,
  });
  const { cell } = ours.supernode.authority;
  const shown = [
    { cell, certificates: ours.supernode.authority.certificates() },
    { cell, certificates: theirs.supernode.authority.certificates() },
    { cell, certificates: [] },
  ];
  let next = 0;
  await liar.handle(protocols.join, { open: 'anyone', maxSessionsPerPeer: 8 }, async (session) => {
    session.send({ type: 'credentials', ...shown[next] });
    for await (const message of session.receive()) heard.push(message);
  });
  for (next = 0; next < shown.length; next += 1) {
    const code = await codeOf(host.join(`127.0.0.1:${liar.port}`, token));
    t.true(['ERR_SIGNATURE', 'ERR_NOT_MEMBER'].includes(code), `${next}: ${code}`);
  }
  t.deepEqual(heard, []);
  t.false(JSON.stringify([theirs.log, ours.log, heard]).includes(secret));
});
