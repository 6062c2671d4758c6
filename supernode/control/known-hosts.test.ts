import { hostname } from 'node:os';
import test from 'ava';
import { programVersion } from '../../core/base/version.ts';
import { retireHost } from '../../ops/control/host-changes.ts';
import { operator } from '../../ops/control/principal.ts';
import { Rogue, waitFor } from '../../test/support/rogue.ts';
import { TestSwarm } from '../../test/support/swarm.ts';

const caller = { principal: operator, source: 'test' };

test('a host is known by what it says when it connects, and so is one of a version that says nothing', async (t) => {
  await using swarm = await TestSwarm.start();
  const { ops, meshPort } = swarm.supernode;
  await swarm.host('one', { location: 'rack-1' });
  const known = await waitFor('a host', () => [...ops.hosts.all()][0]);
  t.like(known, { hostname: hostname(), location: 'rack-1', role: 'host', isConnected: true });
  t.like(known.facts, {
    os: process.platform,
    arch: process.arch,
    node: process.version,
    odonata: programVersion(),
  });
  t.true(Number(known.facts['cpus']) > 0 && Number(known.facts['memoryBytes']) > 0);
  await using older = await Rogue.member(swarm.supernode);
  await older.control(`127.0.0.1:${meshPort}`, { hostname: 'older' });
  const other = await waitFor('the other host', () => ops.hosts.find(older.peerId));
  t.deepEqual(other.facts, {});
});

test('facts beyond what a host may say are refused, and nothing of them is kept', async (t) => {
  await using swarm = await TestSwarm.start();
  const { ops, meshPort } = swarm.supernode;
  await using rogue = await Rogue.member(swarm.supernode);
  const many = Object.fromEntries(Array.from({ length: 25 }, (_, at) => [`fact${at}`, at]));
  const wrong: readonly unknown[] = [
    many,
    { os: 'x'.repeat(129) },
    { 'o s': 'linux' },
    { cpus: -1 },
    { os: { name: 'linux' } },
    ['linux'],
  ];
  for (const facts of wrong) {
    const hello = { facts: facts as Record<string, string> };
    await t.throwsAsync(rogue.control(`127.0.0.1:${meshPort}`, hello), { code: 'ERR_PROTOCOL' });
  }
  t.is(ops.hosts.size, 0);
});

test('a retired host is put out at once and for good; the machine may come back with another key', async (t) => {
  await using swarm = await TestSwarm.start();
  const { ops, meshPort, authority } = swarm.supernode;
  const address = `127.0.0.1:${meshPort}`;
  await using rogue = await Rogue.member(swarm.supernode);
  const talk = await rogue.control(address, { hostname: 'web-1', features: ['calls'] });
  await waitFor('the host', () => ops.hosts.find(rogue.peerId));
  await retireHost(ops, { input: { host: 'web-1' }, caller });
  await waitFor('the end of its session', () => talk.isOver || undefined);
  await t.throwsAsync(rogue.control(address, { hostname: 'web-1' }));
  const token = await authority.createToken({ ttlMs: 3_600_000, role: 'host' });
  await t.throwsAsync(rogue.join(address, token));
  await waitFor(
    'it to be gone',
    () => ops.hosts.find(rogue.peerId)?.isConnected === false || undefined,
  );
  await t.throwsAsync(ops.submit({ command: 'uptime', on: 'host=web-1' }, caller), {
    code: 'ERR_NOT_FOUND',
  });
  await using again = await Rogue.member(swarm.supernode);
  await again.control(address, { hostname: 'web-1', features: ['calls'] });
  await waitFor('the new host', () => ops.hosts.find(again.peerId));
  const call = await ops.submit({ command: 'uptime', on: 'host=web-1' }, caller);
  t.deepEqual(
    call.hosts.map(({ peer }) => peer),
    [again.peerId],
  );
  t.like(ops.hosts.find(rogue.peerId), { hostname: 'web-1', retired: { by: 'operator' } });
});
