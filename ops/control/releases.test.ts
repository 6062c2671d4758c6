import test from 'ava';
import type { CallOrder } from '../../core/identity/call-order.ts';
import {
  alice,
  publish,
  reached,
  ReleaseBench,
  start,
  withKey,
} from '../../test/support/release-bench.ts';
import type { Life } from '../../test/support/release-bench.ts';
import type { Manner } from '../../test/support/releasing-host.ts';

const SIX = ['a1 a', 'a2 a', 'b1 b', 'b2 b', 'c1 c', 'c2 c'];

/** The version does not run well, wherever it is. */
const isBad: Manner = ({ command, args }: CallOrder) =>
  command === 'package.switch' && args[1] === '2' ? 'failed' : 'ok';

function byText(one: string, other: string): number {
  return one < other ? -1 : 1;
}

async function lock({ ops: { door, principals } }: Life, key: string): Promise<void> {
  const input = { id: key };
  await door.perform({ verb: 'key.lock', caller: alice, input, object: input }, async () =>
    principals.lock(key),
  );
}

test('a release goes from batch to batch, each with hosts of every idc, and every host runs it in the end', async (t) => {
  const bench = await ReleaseBench.open(t, SIX);
  await using life = await bench.live();
  await publish(life, 'web', '2');
  const id = await start(life, { pause: 'none' });
  await reached(life, id, 'done');
  for (const host of bench.hosts) {
    t.is(host.current, '2');
    t.deepEqual(host.done, ['package.install 2', 'package.switch 2']);
  }
  const { batches, stages, failures } = await life.ops.releases.detail(id);
  t.deepEqual(
    batches.map((batch) => batch.map(({ idc }) => idc)),
    [
      ['a', 'b', 'c'],
      ['a', 'b', 'c'],
    ],
  );
  t.like({ stages, failures }, { stages: { switched: 6 }, failures: 0 });
  const calls = await life.ops.calls.list({ limit: 10 });
  const shown = calls.map(({ command, lane, principal, on, hosts }) => {
    t.is(on, `release=${id}`);
    return `${command} ${lane} ${principal} ${hosts.length}`;
  });
  t.deepEqual(shown.toSorted(byText), [
    'package.install slow operator 3',
    'package.install slow operator 3',
    'package.switch fast operator 3',
    'package.switch fast operator 3',
  ]);
});

test('each step is in the audit with the calls that it made, in the commit that made them', async (t) => {
  const bench = await ReleaseBench.open(t, ['one']);
  await using life = await bench.live();
  await publish(life, 'web', '2');
  const id = await start(life);
  await reached(life, id, 'done');
  const { records } = await life.ops.audit.list({ kind: 'release.step', limit: 10 });
  const calls = await life.ops.calls.list({ limit: 10 });
  const [change, install] = calls.map((call) => call.id);
  t.like(records, [
    { object: id, principal: 'operator', detail: { step: 'install', phase: 'running' } },
    { object: id, detail: { step: 'switch', failures: 0 } },
    { object: id, detail: { phase: 'done', calls: [] } },
  ]);
  t.like(records[0]?.detail, { calls: [{ call: install, command: 'package.install', hosts: 1 }] });
  t.like(records[1]?.detail, { calls: [{ call: change, version: '2' }] });
  const [begun] = (await life.ops.audit.list({ kind: 'release.start', limit: 10 })).records;
  t.like(begun, { object: id, detail: { application: 'web', version: '2', hosts: 1 } });
});

test('one failure too many, and each host goes back to what it had, by itself; later batches never hear of it', async (t) => {
  const bench = await ReleaseBench.open(t, SIX);
  const [first, second] = bench.hosts;
  if (first === undefined || second === undefined) return;
  first.current = '0.9';
  second.current = null;
  for (const host of bench.hosts) host.manner = isBad;
  await using life = await bench.live();
  await publish(life, 'web', '2');
  const id = await start(life, { pause: 'none', batches: { size: 3 } });
  const { rolledBackFor } = await reached(life, id, 'rolled-back');
  t.is(rolledBackFor, '3 hosts failed, and 0 may');
  t.is(first.current, '0.9');
  t.is(second.current, null);
  const { batches } = await life.ops.releases.detail(id);
  const [touched = [], untouched = []] = batches.map((batch) => batch.map(({ peer }) => peer));
  for (const { peer, done } of bench.hosts) {
    t.is(done.length, touched.includes(peer) ? 3 : 0);
  }
  t.is(untouched.length, 3);
  for (const { done, current } of bench.hosts) {
    if (done.length > 0) t.is(done[2], `package.switch ${current ?? 'none'}`);
  }
});

test('within its budget a release goes on, and a host that fails once more ends it', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'two', 'three']);
  await using life = await bench.live();
  await publish(life, 'web', '2');
  for (const host of bench.hosts.slice(0, 1)) host.manner = isBad;
  const within = await start(life, { pause: 'none', maxFailures: 1, batches: { size: 1 } });
  t.is(Object.keys((await reached(life, within, 'done')).hosts).length, 3);
  await publish(life, 'web', '3');
  for (const host of bench.hosts.slice(0, 2)) host.manner = () => 'refused';
  const wish = { version: '3', pause: 'none', maxFailures: 1, batches: { count: 1 } } as const;
  const over = await start(life, wish);
  const state = await reached(life, over, 'rolled-back');
  t.is(Object.values(state.hosts).filter(({ stage }) => stage === 'failed').length, 2);
  // Nobody had switched.
  t.deepEqual(bench.hosts[2]?.done.at(-1), 'package.install 3');
});

test('a host that is away has until the call is good no more, and then it has failed', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'two']);
  await using life = await bench.live();
  await publish(life, 'web', '2');
  const [one, two] = bench.hosts;
  if (one === undefined || two === undefined) return;
  one.manner = () => undefined;
  two.manner = () => undefined;
  const id = await start(life, { pause: 'none', batches: { size: 1 } });
  const { calls } = await reached(life, id, ({ phase }) => phase === 'running');
  const [silent] = bench.hosts.filter(({ orders }) => orders.length > 0);
  silent?.disconnect();
  t.is(calls.length, 1);
  const { hosts } = await reached(life, id, ({ phase }) => {
    bench.clock.advance(60_000);
    return phase === 'rolled-back';
  });
  t.like(hosts[silent?.peer ?? ''], { stage: 'failed' });
  t.regex(hosts[silent?.peer ?? '']?.why ?? '', /^unknown/);
});

test('it pauses as planned and as asked, and goes on, back, or nowhere as somebody says', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'two']);
  await using life = await bench.live();
  await publish(life, 'web', '2');
  const { releases } = life.ops;
  const id = await start(life, { batches: { size: 1 } });
  t.is((await reached(life, id, 'paused')).pausedFor, 'batch 1 has ended');
  t.is(bench.hosts.filter(({ current }) => current === '2').length, 1);
  await t.throwsAsync(start(life), { code: 'ERR_CONFLICT', message: /has not ended/ });
  await publish(life, 'api', '2');
  const other = await start(life, { application: 'api', pause: 'none' });
  await reached(life, other, 'done');
  await releases.control(id, 'rollback', alice);
  await reached(life, id, 'rolled-back');
  t.deepEqual(
    bench.hosts.map(({ current }) => current),
    ['1', '1'],
  );
  await t.throwsAsync(releases.control(id, 'continue', alice), { code: 'ERR_CONFLICT' });
  const next = await start(life, { batches: { size: 1 } });
  await reached(life, next, 'paused');
  await releases.control(next, 'continue', alice);
  await reached(life, next, 'done');
  const last = await start(life, { batches: { size: 1 } });
  await reached(life, last, 'paused');
  await releases.control(last, 'close', alice);
  await reached(life, last, 'closed');
  const { records } = await life.ops.audit.list({ kind: 'release.control', limit: 10 });
  t.deepEqual(
    records.map(({ object, detail }) => [object, detail['wish']]),
    [
      [id, 'rollback'],
      [next, 'continue'],
      [last, 'close'],
    ],
  );
});

test('nothing is started but what was shown', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'two']);
  await using life = await bench.live();
  await publish(life, 'web', '2');
  const { releases } = life.ops;
  const request = { application: 'web', version: '2', on: 'all', batches: { count: 1 } };
  const { plan, batches } = await releases.preview(request, alice);
  t.is(batches.flat().length, 2);
  bench.hosts[0]?.disconnect();
  const refused = { code: 'ERR_CONFLICT', message: /preview the release again/ };
  await t.throwsAsync(releases.start({ ...request, plan }, alice), refused);
  bench.hosts[0]?.connect(life.ops.desk);
  await t.throwsAsync(releases.start({ ...request, maxFailures: 1, plan }, alice), refused);
  const unknown = { ...request, version: '9' };
  await t.throwsAsync(releases.preview(unknown, alice), { code: 'ERR_NOT_FOUND' });
  await t.throwsAsync(releases.preview({ ...request, on: 'idc=x' }, alice), {
    code: 'ERR_NOT_FOUND',
  });
  t.deepEqual((await releases.list({})).items, []);
  const { id } = await releases.start({ ...request, plan }, alice);
  await reached(life, id, 'done');
});

test('policies and caps see the hosts and the command of a release', async (t) => {
  const bench = await ReleaseBench.open(t, ['one a', 'two b']);
  await using life = await bench.live();
  await publish(life, 'web', '2');
  const carol = await withKey(life, 'carol', { hosts: ['idc=a'], commands: ['package.switch'] });
  await t.throwsAsync(start(life, {}, carol), { code: 'ERR_DENIED' });
  const mine = await start(life, { on: 'idc=a' }, carol);
  await reached(life, mine, 'done');
  const dave = await withKey(life, 'dave', { commands: ['package.install'] });
  await t.throwsAsync(start(life, {}, dave), { code: 'ERR_DENIED' });
  await t.throwsAsync(life.ops.releases.control(mine, 'close', dave), { code: 'ERR_DENIED' });
  const caps = { hosts: { max: 1, windowMs: 60_000 } };
  await life.ops.door.perform(
    { verb: 'key.create', caller: alice, input: { principal: 'erin', caps }, object: { id: '' } },
    async () => life.ops.principals.create({ principal: 'erin', caps }),
  );
  const erin = await withKey(life, 'erin');
  await t.throwsAsync(start(life, {}, erin), { code: 'ERR_CAP' });
  t.deepEqual(bench.hosts[1]?.done, []);
});

test('a key that is locked pauses its release, and somebody else leads it back in his own name', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'two']);
  await using life = await bench.live();
  await publish(life, 'web', '2');
  const carol = await withKey(life, 'carol');
  const bob = await withKey(life, 'bob');
  const id = await start(life, { batches: { size: 1 } }, carol);
  await reached(life, id, 'paused');
  for (const host of bench.hosts) host.manner = () => undefined;
  await life.ops.releases.control(id, 'continue', carol);
  await reached(life, id, ({ phase }) => phase === 'running');
  await lock(life, carol.principal.key ?? '');
  const state = await reached(life, id, 'paused');
  t.regex(state.pausedFor ?? '', /its key is locked/);
  t.is(state.step, 'rollback', 'the call was cut off, and that host has failed');
  for (const host of bench.hosts) host.manner = () => 'ok';
  // Calls are listed in the order of their times.
  bench.clock.advance(1);
  await life.ops.releases.control(id, 'continue', bob);
  await reached(life, id, 'rolled-back');
  t.deepEqual(
    bench.hosts.map(({ current }) => current),
    ['1', '1'],
  );
  const [last] = await life.ops.calls.list({ limit: 1 });
  t.like(last, { principal: 'bob', key: bob.principal.key });
});

test('with a locked key nobody leads a release on', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'two']);
  await using life = await bench.live();
  await publish(life, 'web', '2');
  const carol = await withKey(life, 'carol');
  const id = await start(life, { batches: { size: 1 } }, carol);
  await reached(life, id, 'paused');
  await lock(life, carol.principal.key ?? '');
  await t.throwsAsync(life.ops.releases.control(id, 'continue', alice), {
    code: 'ERR_CONFLICT',
    message: /is locked/,
  });
  await life.ops.releases.control(id, 'rollback', alice);
  t.like(await reached(life, id, 'rolled-back'), { by: { principal: 'operator' } });
});
