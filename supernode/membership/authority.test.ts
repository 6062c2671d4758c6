import { mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import type { Clock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import type { Log } from '../../core/base/log.ts';
import { certificateTtlMs } from '../../core/identity/cell.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { parseToken } from '../../core/identity/join-token.ts';
import { recordTtlMs } from '../../core/identity/membership.ts';
import { CellTrust } from '../../core/identity/trust.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import { keysWith } from '../../core/store/state-store.ts';
import { Authority } from './authority.ts';

const DAY_MS = 86_400_000;
const addresses = ['10.0.0.1:8002'];

interface Bench {
  readonly dataDir: string;
  readonly clock: ManualClock;
  readonly open: (options?: {
    readonly addresses?: readonly string[];
    readonly log?: Log;
    readonly maxRevoked?: number;
  }) => Promise<Authority>;
}

async function withBench(t: ExecutionContext, run: (bench: Bench) => Promise<void>): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'authority-'));
  t.teardown(async () => rm(dataDir, { recursive: true }));
  const clock = new ManualClock();
  const open: Bench['open'] = async (options = {}) =>
    Authority.open({ dataDir, clock, log: silentLog, addresses, ...options });
  await run({ dataDir, clock, open });
}

/** Who shows the token as it is. */
function claimOf(token: string, more: Partial<Parameters<Authority['redeem']>[0]> = {}) {
  const { id, secret } = parseToken(token);
  const { peerId } = HostKey.generate();
  return { id, secret, peerId, address: '10.0.0.7', ...more };
}

/** A host that knows nothing but the cell id, given what a supernode sends. */
function trustOf(authority: Authority, clock: Clock): CellTrust {
  const trust = new CellTrust(authority.cell);
  for (const envelope of authority.certificates()) trust.addCertificate(envelope);
  const map = authority.cellMap();
  if (map !== undefined) trust.applyCellMap(map, clock.now());
  return trust;
}

const hostGrant = { ttlMs: DAY_MS, role: 'host' } as const;

test('Authority.open() makes a cell whose members believe it, with keys only its user can read', async (t) => {
  await withBench(t, async ({ open, clock, dataDir }) => {
    await using authority = await open();
    const trust = trustOf(authority, clock);
    trust.verifySupernode(authority.key.peerId, clock.now());
    t.deepEqual(trust.cellMap()?.supernodes, [{ peerId: authority.key.peerId, addresses }]);
    const { peerId } = HostKey.generate();
    const membership = authority.membershipFor({ peerId, role: 'seed', idc: 'east' });
    const record = trust.verifyRecord(membership.record, { peerId, now: clock.now() });
    t.like(record, { role: 'seed', idc: 'east', expires: clock.now() + recordTtlMs });
    t.is(membership.now, clock.now());
    t.deepEqual(authority.verifyMember(membership.record, peerId), record);
    t.is(authority.verifyMember(authority.ownRecord(), authority.key.peerId).role, 'supernode');
    for (const file of ['cell.key', 'host.key']) {
      t.is((await stat(join(dataDir, 'identity', file))).mode & 0o777, 0o600);
    }
  });
});

test('Authority.ticket() is one that members accept for that child alone', async (t) => {
  await withBench(t, async ({ open, clock }) => {
    await using authority = await open();
    const { peerId: child } = HostKey.generate();
    const about = { task: 'a'.repeat(64), version: 'b'.repeat(16), child };
    const ticket = authority.ticket({ ...about, scope: 'http://origin/' });
    const trust = trustOf(authority, clock);
    t.is(trust.verifyTicket(ticket, { ...about, now: clock.now() }).scope, 'http://origin/');
    const other = { ...about, child: HostKey.generate().peerId, now: clock.now() };
    t.throws(() => trust.verifyTicket(ticket, other), { code: 'ERR_TICKET' });
  });
});

test('Authority.verifyMember() answers ERR_NOT_MEMBER to whatever makes nobody a member', async (t) => {
  await withBench(t, async ({ open, clock }) => {
    await using authority = await open();
    const { peerId } = HostKey.generate();
    const { record } = authority.membershipFor({ peerId, role: 'host', idc: 'east' });
    const isRefused = (envelope: string, peer: string): void => {
      t.throws(() => authority.verifyMember(envelope, peer), { code: 'ERR_NOT_MEMBER' });
    };
    isRefused(record, HostKey.generate().peerId);
    isRefused('nonsense', peerId);
    isRefused(record.slice(0, -2), peerId);
    clock.advance(recordTtlMs + 60_000);
    isRefused(record, peerId);
  });
});

test('Authority.open() is the same authority after a restart, with the map as it was', async (t) => {
  await withBench(t, async ({ open, clock }) => {
    let first = await open();
    const { cell } = first;
    const { peerId } = first.key;
    const [map, certificates] = [first.cellMap(), first.certificates()];
    await first[Symbol.asyncDispose]();
    clock.advance(5000);
    first = await open();
    t.is(first.cell, cell);
    t.is(first.key.peerId, peerId);
    t.is(first.cellMap(), map);
    t.deepEqual(first.certificates(), certificates);
    await first[Symbol.asyncDispose]();
    await using moved = await open({ addresses: ['10.0.0.2:8002'] });
    t.true((moved.trust.cellMap()?.epoch ?? 0) > 0);
    t.deepEqual(moved.trust.cellMap()?.supernodes[0]?.addresses, ['10.0.0.2:8002']);
  });
});

test('Authority.redeem() grants what the token says, and takes a use only from a good claim', async (t) => {
  await withBench(t, async ({ open }) => {
    await using authority = await open();
    const grant = { ...hostGrant, role: 'seed', uses: 1, cidr: '10.0.0.0/8', idc: 'east' } as const;
    const token = await authority.createToken(grant);
    const secret = 'A'.repeat(43);
    const bad = [
      [claimOf(token, { secret }), 'ERR_TOKEN'],
      [claimOf(token, { id: '0'.repeat(16) }), 'ERR_TOKEN'],
      [claimOf(token, { id: '../cell' }), 'ERR_TOKEN'],
      [claimOf(token, { address: '192.168.0.1' }), 'ERR_TOKEN'],
      [claimOf(token, { role: 'host' }), 'ERR_TOKEN_GRANT'],
      [claimOf(token, { idc: 'west' }), 'ERR_TOKEN_GRANT'],
    ] as const;
    for (const [claim, code] of bad) await t.throwsAsync(authority.redeem(claim), { code });
    t.deepEqual(await authority.redeem(claimOf(token)), { role: 'seed', idc: 'east' });
    await t.throwsAsync(authority.redeem(claimOf(token)), { code: 'ERR_TOKEN' });
  });
});

test('Authority.redeem() lets one of many win a token of one use, and that one again', async (t) => {
  await withBench(t, async ({ open }) => {
    let authority = await open();
    const token = await authority.createToken({ ...hostGrant, uses: 1 });
    const claims = Array.from({ length: 20 }, () => claimOf(token));
    const results = await Promise.allSettled(claims.map(async (claim) => authority.redeem(claim)));
    const winners = claims.filter((_, index) => results[index]?.status === 'fulfilled');
    t.is(winners.length, 1);
    await authority[Symbol.asyncDispose]();

    authority = await open();
    await t.throwsAsync(authority.redeem(claimOf(token)), { code: 'ERR_TOKEN' });
    // Its first answer may have been lost on the way.
    const [winner] = winners;
    if (winner !== undefined) t.like(await authority.redeem(winner), { role: 'host' });
    await authority[Symbol.asyncDispose]();
  });
});

test('Authority.redeem() takes a token until it expires, across restarts', async (t) => {
  await withBench(t, async ({ open, clock }) => {
    const first = await open();
    const token = await first.createToken(hostGrant);
    await first[Symbol.asyncDispose]();
    await using authority = await open();
    clock.advance(DAY_MS - 1);
    t.deepEqual(await authority.redeem(claimOf(token, { idc: 'west' })), {
      role: 'host',
      idc: 'west',
    });
    clock.advance(1);
    await t.throwsAsync(authority.redeem(claimOf(token)), { code: 'ERR_TOKEN' });
  });
});

test('Authority.redeem() stops listening to an address that fails too often, and forgives', async (t) => {
  await withBench(t, async ({ open, clock }) => {
    await using authority = await open();
    const token = await authority.createToken(hostGrant);
    const bad = { secret: 'A'.repeat(43), address: '2001:db8::1' };
    for (let attempt = 0; attempt < 30; attempt += 1) {
      await t.throwsAsync(authority.redeem(claimOf(token, bad)), { code: 'ERR_TOKEN' });
    }
    const neighbour = { address: '2001:db8::ffff' };
    const error = await t.throwsAsync(authority.redeem(claimOf(token, neighbour)), {
      code: 'ERR_BUSY',
    });
    t.like(error, { detail: { retryAfterMs: 2000 } });
    t.like(await authority.redeem(claimOf(token, { address: '2001:db8:0:1::1' })), {
      role: 'host',
    });
    clock.advance(2000);
    t.like(await authority.redeem(claimOf(token, neighbour)), { role: 'host' });
  });
});

test('Authority.createToken() names a wrong option, and expired tokens leave no rows', async (t) => {
  await withBench(t, async ({ open, clock, dataDir }) => {
    const authority = await open();
    const make = async (more: object): Promise<string> =>
      authority.createToken({ ...hostGrant, ...more });
    await t.throwsAsync(make({ ttlMs: 0 }), { code: 'ERR_USAGE' });
    await t.throwsAsync(make({ uses: 0 }), { code: 'ERR_USAGE' });
    await t.throwsAsync(make({ cidr: '10.0.0.0/64' }), { code: 'ERR_USAGE' });
    await t.throwsAsync(make({ idc: 'a|b' }), { code: 'ERR_USAGE' });
    await authority.redeem(claimOf(await make({ uses: 5 })));
    clock.advance(DAY_MS);
    await make({ idc: 'east' });
    t.is((await authority.tokens()).length, 1);
    await authority[Symbol.asyncDispose]();
    await using state = await LevelStateStore.open(join(dataDir, 'state'));
    t.is((await Array.fromAsync(state.range(keysWith('token/')))).length, 1);
    t.is((await Array.fromAsync(state.range(keysWith('used/')))).length, 0);
  });
});

test('Authority.tokens() shows no secret, and deleteToken() ends one', async (t) => {
  await withBench(t, async ({ open, clock }) => {
    await using authority = await open();
    const token = await authority.createToken({ ...hostGrant, uses: 2, cidr: '10.0.0.0/8' });
    const { id } = parseToken(token);
    await authority.redeem(claimOf(token));
    t.deepEqual(await authority.tokens(), [
      { id, role: 'host', expires: clock.now() + DAY_MS, usesLeft: 1, cidr: '10.0.0.0/8' },
    ]);
    t.true(await authority.deleteToken(id));
    t.false(await authority.deleteToken(id));
    await t.throwsAsync(authority.redeem(claimOf(token)), { code: 'ERR_TOKEN' });
    t.deepEqual(await authority.tokens(), []);
  });
});

test('Authority.revoke() puts a host out, for members too, and for good', async (t) => {
  await withBench(t, async ({ open, clock }) => {
    let authority = await open();
    const token = await authority.createToken(hostGrant);
    const { peerId } = HostKey.generate();
    const { record } = authority.membershipFor({ peerId, role: 'host', idc: 'east' });
    const trust = trustOf(authority, clock);
    let changes = 0;
    using _listening = authority.onChange(() => (changes += 1));
    await Promise.all([authority.revoke(peerId), authority.revoke(peerId)]);
    t.is(changes, 1);
    t.true(authority.isRevoked(peerId));
    t.true(trust.applyCellMap(authority.cellMap() ?? '', clock.now()));
    const refusal = { code: 'ERR_NOT_MEMBER' };
    t.throws(() => trust.verifyRecord(record, { peerId, now: clock.now() }), refusal);
    await authority[Symbol.asyncDispose]();

    authority = await open();
    t.true(authority.isRevoked(peerId));
    t.throws(() => authority.verifyMember(record, peerId), refusal);
    const member = { peerId, role: 'host', idc: 'east' } as const;
    t.throws(() => authority.membershipFor(member), refusal);
    await t.throwsAsync(authority.redeem(claimOf(token, { peerId })), refusal);
    await authority[Symbol.asyncDispose]();
  });
});

test('Authority.revoke() of several at once loses none, and refuses what is no host', async (t) => {
  await withBench(t, async ({ open }) => {
    await using authority = await open();
    const peers = Array.from({ length: 5 }, () => HostKey.generate().peerId);
    await Promise.all(peers.map(async (peer) => authority.revoke(peer)));
    t.deepEqual(authority.trust.cellMap()?.revoked.toSorted(), peers.toSorted());
    await t.throwsAsync(authority.revoke('somebody'), { code: 'ERR_REQUEST' });
    await t.throwsAsync(authority.revoke(authority.key.peerId), { code: 'ERR_REQUEST' });
  });
});

test('Authority.checkRoom() says when nobody can be put out any more, but not of who is out', async (t) => {
  await withBench(t, async ({ open }) => {
    await using authority = await open({ maxRevoked: 2 });
    const [one = '', two = '', three = ''] = Array.from(
      { length: 3 },
      () => HostKey.generate().peerId,
    );
    await authority.revoke(one);
    t.notThrows(() => authority.checkRoom(two));
    await authority.revoke(two);
    const full = { code: 'ERR_BUSY', message: /list of revocations is full, with 2 keys/ } as const;
    t.throws(() => authority.checkRoom(three), full);
    await t.throwsAsync(authority.revoke(three), full);
    t.notThrows(() => authority.checkRoom(one));
    await t.notThrowsAsync(authority.revoke(one));
  });
});

test('Authority renews its certificate at two thirds of its life, and both hold meanwhile', async (t) => {
  await withBench(t, async ({ open, clock, dataDir }) => {
    await using authority = await open();
    const renewed = new Promise<void>((resolve) => {
      authority.onChange(() => resolve());
    });
    const [first] = authority.certificates();
    clock.advance((certificateTtlMs * 2) / 3 - 3_600_000);
    t.deepEqual(authority.certificates(), [first]);
    clock.advance(2 * 3_600_000);
    await renewed;
    t.is(authority.certificates().length, 2);
    t.is(authority.certificates()[0], first);
    clock.advance(certificateTtlMs / 3);
    t.is(authority.certificates().length, 1);
    trustOf(authority, clock).verifySupernode(authority.key.peerId, clock.now());
    await t.notThrowsAsync(stat(join(dataDir, 'identity', 'cell.key')));
  });
});

test('Authority.open() works with the cell key kept elsewhere until the certificate runs out', async (t) => {
  await withBench(t, async ({ open, clock, dataDir }) => {
    const first = await open();
    const { cell } = first;
    await first[Symbol.asyncDispose]();
    const file = join(dataDir, 'identity', 'cell.key');
    await rename(file, join(dataDir, 'offline.key'));
    {
      const { promise: warned, resolve } = Promise.withResolvers<string>();
      const error = (_facts: object, message: string): void => resolve(message);
      await using authority = await open({ log: { ...silentLog, error } });
      t.is(authority.cell, cell);
      await authority.revoke(HostKey.generate().peerId);
      clock.advance(70 * DAY_MS);
      t.regex(await warned, /runs out/);
      t.is(authority.certificates().length, 1);
    }
    clock.advance(30 * DAY_MS);
    const error = await t.throwsAsync(open(), { code: 'ERR_KEY_FILE' });
    t.regex(error?.message ?? '', /cell\.key/);
    await rename(join(dataDir, 'offline.key'), file);
    await using again = await open();
    t.is(again.cell, cell);
    trustOf(again, clock).verifySupernode(again.key.peerId, clock.now());
  });
});

test('Authority.open() certifies a new key of the supernode and keeps revocations, but no other cell key', async (t) => {
  await withBench(t, async ({ open, clock, dataDir }) => {
    const first = await open();
    const host = HostKey.generate().peerId;
    await first.revoke(host);
    const old = first.membershipFor({ peerId: first.cell, role: 'host', idc: 'east' });
    await first[Symbol.asyncDispose]();
    await rm(join(dataDir, 'identity', 'host.key'));
    {
      await using second = await open();
      t.not(second.key.peerId, first.key.peerId);
      t.is(second.certificates().length, 2);
      t.true(second.isRevoked(host));
      const trust = trustOf(second, clock);
      trust.verifySupernode(second.key.peerId, clock.now());
      t.notThrows(() => trust.verifyRecord(old.record, { peerId: first.cell, now: clock.now() }));
    }
    await rm(join(dataDir, 'identity', 'cell.key'));
    await rm(join(dataDir, 'identity', 'host.key'));
    await t.throwsAsync(open(), { code: 'ERR_KEY_FILE' });
    await HostKey.load(join(dataDir, 'identity', 'cell.key'));
    const error = await t.throwsAsync(open(), { code: 'ERR_KEY_FILE' });
    t.regex(error?.message ?? '', /another cell/);
  });
});
