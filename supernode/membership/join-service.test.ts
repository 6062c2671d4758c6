import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock, SystemClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import type { Log } from '../../core/base/log.ts';
import { SystemRandom } from '../../core/base/random.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { parseToken } from '../../core/identity/join-token.ts';
import { CellTrust } from '../../core/identity/trust.ts';
import { memorySessionPair } from '../../core/net/mesh/memory-session.ts';
import { MeshNode } from '../../core/net/mesh/mesh-node.ts';
import { joinCell } from '../../core/swarm/join-cell.ts';
import { protocols } from '../../core/wire/messages.ts';
import { Authority } from './authority.ts';
import { joinService } from './join-service.ts';

const HOUR_MS = 3_600_000;

async function openAuthority(t: ExecutionContext): Promise<Authority> {
  const dataDir = await mkdtemp(join(tmpdir(), 'join-service-'));
  const clock = new SystemClock();
  const options = { dataDir, clock, log: silentLog, addresses: ['127.0.0.1:8002'] };
  const authority = await Authority.open(options);
  t.teardown(async () => {
    await authority[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true });
  });
  return authority;
}

async function startNode(
  t: ExecutionContext,
  key: HostKey,
  listen?: { host: string; port: number },
): Promise<MeshNode> {
  const node = await MeshNode.start({
    privateKeyProtobuf: key.libp2pPrivateKey(),
    listen,
    clock: new SystemClock(),
    random: new SystemRandom(),
    log: silentLog,
  });
  t.teardown(async () => node.close());
  return node;
}

/** A log that keeps its lines as text. */
function recordingLog(): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = [];
  const write = (facts: object, message: string): void => {
    lines.push(JSON.stringify({ ...facts, message }));
  };
  const log: Log = { error: write, warn: write, info: write, debug: write, child: () => log };
  return { log, lines };
}

test('joinService() makes a member of a host with a token, over a real mesh', async (t) => {
  const authority = await openAuthority(t);
  const clock = new SystemClock();
  const { log, lines } = recordingLog();
  const supernode = await startNode(t, authority.key, { host: '127.0.0.1', port: 0 });
  const service = joinService(authority, { clock, log });
  await supernode.handle(protocols.join, { open: 'anyone', maxSessionsPerPeer: 1 }, service);

  const key = HostKey.generate();
  const host = await startNode(t, key);
  const token = parseToken(
    await authority.createToken({ ttlMs: HOUR_MS, uses: 1, role: 'seed', cidr: '127.0.0.0/8' }),
  );
  const address = `127.0.0.1:${supernode.port}`;
  const options = { now: clock.now(), clock, signal: new AbortController().signal };
  const wants = { idc: 'east' };
  const membership = await joinCell(host, address, { token, wants, ...options });

  const trust = new CellTrust(token.cell);
  for (const certificate of membership.certificates) trust.addCertificate(certificate);
  trust.applyCellMap(membership.map ?? '', clock.now());
  const expected = { peerId: key.peerId, now: clock.now() };
  t.like(trust.verifyRecord(membership.record, expected), { role: 'seed', idc: 'east' });
  t.is(lines.length, 1);
  t.like(JSON.parse(lines[0] ?? ''), { peer: key.peerId, role: 'seed', idc: 'east' });
  t.false(lines.join('').includes(token.secret));

  const late = await startNode(t, HostKey.generate());
  const again = { token, wants: {}, ...options };
  await t.throwsAsync(joinCell(late, address, again), { code: 'ERR_TOKEN', message: /used up/ });
  t.deepEqual(
    [...authority.joins],
    [
      ['ok', 1],
      ['ERR_TOKEN', 1],
    ],
  );
  t.false(lines.join('').includes(token.secret));
});

test('joinService() refuses what is no join, telling why', async (t) => {
  const authority = await openAuthority(t);
  const clock = new ManualClock();
  const service = joinService(authority, { clock, log: silentLog });
  const { dialer, listener } = memorySessionPair({ clock });
  const served = service(listener);
  const messages = dialer.receive()[Symbol.asyncIterator]();
  t.like((await messages.next()).value, { type: 'credentials', cell: authority.cell });
  dialer.send({ type: 'join', token: 7, secret: 'x' });
  t.like((await messages.next()).value, { type: 'refused', error: { code: 'ERR_PROTOCOL' } });
  await served;
  t.true((await messages.next()).done);
});

test('joinService() gives up on a host that says nothing', async (t) => {
  const authority = await openAuthority(t);
  const clock = new ManualClock();
  const service = joinService(authority, { clock, log: silentLog });
  const { dialer, listener } = memorySessionPair({ clock });
  const served = service(listener);
  const messages = dialer.receive()[Symbol.asyncIterator]();
  await messages.next();
  clock.advance(5_000);
  t.like((await messages.next()).value, { type: 'refused', error: { code: 'ERR_TIMEOUT' } });
  await served;
});

test('joinService() does not tell a stranger what is wrong with this machine', async (t) => {
  const authority = await openAuthority(t);
  const clock = new ManualClock();
  const { log, lines } = recordingLog();
  const service = joinService(authority, { clock, log });
  const { id, secret } = parseToken(await authority.createToken({ ttlMs: HOUR_MS, role: 'host' }));
  await authority[Symbol.asyncDispose]();
  const { dialer, listener } = memorySessionPair({ clock });
  const served = service(listener);
  const messages = dialer.receive()[Symbol.asyncIterator]();
  await messages.next();
  dialer.send({ type: 'join', token: id, secret });
  t.like((await messages.next()).value, {
    type: 'refused',
    error: { code: 'ERR_MESH_UNAVAILABLE', detail: {} },
  });
  await served;
  t.regex(lines.join(''), /could not be admitted/);
});
