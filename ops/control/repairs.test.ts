import test from 'ava';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import {
  alice,
  publish,
  reached,
  ReleaseBench,
  start,
  withKey,
} from '../../test/support/release-bench.ts';
import type { Life } from '../../test/support/release-bench.ts';
import type { ReleasingHost } from '../../test/support/releasing-host.ts';
import { until } from '../../test/support/until.ts';
import type { OwedView } from './release-view.ts';

const LOOK_MS = 2_000;

async function owedTo(
  life: Life,
  id: string,
  { peer }: ReleasingHost,
): Promise<OwedView | undefined> {
  const { batches, late = [] } = await life.ops.releases.detail(id);
  return [...batches.flat(), ...late].find((host) => host.peer === peer)?.owed;
}

/** Resolves when it is so; the test ends before it waits for ever. */
async function becomes(isSo: () => Promise<boolean>): Promise<void> {
  const clock = new SystemClock();
  while (!(await isSo())) await clock.sleep(5);
}

/** Two hosts, both switched to 2, of which the last has gone away, and was not there when all went back. */
async function withLost(
  bench: ReleaseBench,
  life: Life,
): Promise<{ id: string; lost: ReleasingHost; other: ReleasingHost }> {
  await publish(life, 'web', '2');
  const id = await start(life, { batches: { count: 2 }, pause: 'every' });
  await reached(life, id, 'paused');
  const other = bench.hosts.find(({ current }) => current === '2');
  const lost = bench.hosts.find((host) => host !== other);
  if (lost === undefined || other === undefined) throw new TypeError('two hosts');
  // The last host of all: it switches, and dies before it can tell.
  lost.manner = ({ command }) => {
    if (command === 'package.install') return 'ok';
    lost.current = '2';
    lost.disconnect();
    return undefined;
  };
  await life.ops.releases.control(id, 'continue', alice);
  await reached(life, id, ({ phase, batch }) => {
    // From then on nobody has to answer before the step of the other host begins.
    const isGone = lost.done.includes('package.switch 2');
    if (batch === 1 && isGone) bench.clock.advance(60_000);
    return phase === 'rollback-failed';
  });
  lost.manner = () => 'ok';
  return { id, lost, other };
}

test('a host that was away when a release went back is brought back when it is here again', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'two']);
  await using life = await bench.live();
  const { id, lost, other } = await withLost(bench, life);
  t.is(lost.current, '2');
  t.is(other.current, '1');
  await becomes(async () => (await owedTo(life, id, lost)) !== undefined);
  t.like(await owedTo(life, id, lost), {
    state: 'lost',
    should: '1',
    stage: 'waiting',
    heldFor: 'the host is away',
  });
  const before = lost.done.length;
  lost.connect(life.ops.desk);
  bench.clock.advance(LOOK_MS);
  await becomes(async () => (await owedTo(life, id, lost))?.state === 'mended');
  t.is(lost.current, '1');
  t.deepEqual(lost.done.slice(before), ['package.switch 1']);
  t.is((await owedTo(life, id, lost))?.has, '1');
  bench.clock.advance(3_600_000);
  await life.ops.releases.repairs.alone(async () => undefined);
  t.is(lost.done.length, before + 1, 'once');
  const { records } = await life.ops.audit.list({ kind: 'release.repair', limit: 10 });
  t.deepEqual(
    records.map(({ object, principal, detail }) => [object, principal, detail['stage']]),
    [
      [id, 'operator', 'switching'],
      [id, 'operator', 'mended'],
    ],
  );
});

test('a host that was away while others got a version gets it when it is back', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'two']);
  await using life = await bench.live();
  await publish(life, 'web', '2');
  const [lost, other] = bench.hosts;
  if (lost === undefined || other === undefined) return;
  lost.manner = () => {
    lost.disconnect();
    return undefined;
  };
  const id = await start(life, { batches: { count: 1 }, maxFailures: 1, pause: 'none' });
  await reached(life, id, ({ phase, step }) => {
    // The other one has been heard, and has nothing to say before the next step.
    if (step === 'install' && other.heard.length > 0) bench.clock.advance(60_000);
    return phase === 'done';
  });
  await becomes(async () => (await owedTo(life, id, lost))?.stage === 'waiting');
  t.like(await owedTo(life, id, lost), { state: 'lost', should: '2' });
  lost.manner = () => 'ok';
  lost.connect(life.ops.desk);
  bench.clock.advance(LOOK_MS);
  await becomes(async () => (await owedTo(life, id, lost))?.state === 'mended');
  t.is(lost.current, '2');
  t.deepEqual(lost.done.slice(-2), ['package.install 2', 'package.switch 2']);
});

test('a host on which the version is not well is not told again, until somebody wishes it', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'two']);
  await using life = await bench.live();
  await publish(life, 'web', '2');
  const [bad] = bench.hosts;
  if (bad === undefined) return;
  bad.manner = ({ command }) => (command === 'package.switch' ? 'failed' : 'ok');
  const id = await start(life, { batches: { count: 1 }, maxFailures: 1, pause: 'none' });
  await reached(life, id, 'done');
  await becomes(async () => (await owedTo(life, id, bad))?.stage === 'left');
  const before = bad.done.length;
  for (let at = 0; at < 10; at += 1) bench.clock.advance(600_000);
  await life.ops.releases.repairs.alone(async () => undefined);
  t.is(bad.done.length, before);

  const { orders } = life.ops.releases;
  const plan = await orders.preview({ id }, alice);
  t.like(plan.hosts, [{ peer: bad.peer, should: '2', state: 'lost' }]);
  t.is(plan.hosts.length, 1);
  const wrong = `sha256:${'0'.repeat(64)}`;
  await t.throwsAsync(orders.start({ id, plan: wrong }, alice), { code: 'ERR_CONFLICT' });
  t.is(bad.done.length, before);
  bad.manner = () => 'ok';
  const bob = await withKey(life, 'bob');
  await orders.start({ id, plan: plan.plan }, bob);
  await becomes(async () => (await owedTo(life, id, bad))?.state === 'mended');
  t.is(bad.current, '2');
  const [last] = await life.ops.calls.list({ limit: 1 });
  t.is(last?.principal, 'bob');
  await t.throwsAsync(orders.preview({ id }, alice), { code: 'ERR_NOT_FOUND' });
});

test('a host that never answers is left after some tries, with growing pauses', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'two']);
  await using life = await bench.live();
  const { id, lost } = await withLost(bench, life);
  lost.manner = () => undefined;
  const before = lost.done.length;
  lost.connect(life.ops.desk);
  await becomes(async () => {
    bench.clock.advance(30_000);
    return (await owedTo(life, id, lost))?.stage === 'left';
  });
  t.true(lost.done.length > before);
  t.like(await owedTo(life, id, lost), { state: 'lost', tries: 5, stage: 'left' });
});

test('what a later release decides takes the place of what a former one owes', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'two']);
  await using life = await bench.live();
  const { id, lost } = await withLost(bench, life);
  // It never says what became of the repair, and a release of another version begins meanwhile.
  lost.manner = ({ args }) => (args[1] === '1' ? undefined : 'ok');
  lost.connect(life.ops.desk);
  bench.clock.advance(LOOK_MS);
  await until(() => lost.done.at(-1) === 'package.switch 1');
  const later = await start(life, { batches: { count: 1 }, pause: 'none' });
  await reached(life, later, 'done');
  t.is(lost.current, '2');
  t.is(await owedTo(life, id, lost), undefined);
  const before = lost.done.length;
  bench.clock.advance(3_600_000);
  await life.ops.releases.repairs.alone(async () => undefined);
  t.is(lost.done.length, before);
  await t.throwsAsync(life.ops.releases.orders.preview({ id, on: 'all' }, alice), {
    code: 'ERR_NOT_FOUND',
    message: /is newer/,
  });
});

test('while a release that names the host has not ended, nothing else is told to it', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'two', 'three']);
  await using life = await bench.live();
  const [third] = bench.hosts.slice(2);
  third?.disconnect();
  const { id, lost } = await withLost(bench, life);
  third?.connect(life.ops.desk);
  lost.connect(life.ops.desk);
  const later = await start(life, { batches: { count: 3 }, pause: 'every' });
  await reached(life, later, 'paused');
  const orders = lost.done.length;
  bench.clock.advance(60_000);
  await life.ops.releases.repairs.alone(async () => undefined);
  t.is(lost.done.length, orders);
  const owed = await owedTo(life, id, lost);
  if (lost.current === '2' && owed !== undefined) t.regex(owed.heldFor ?? '', /has not ended/);
  await life.ops.releases.control(later, 'close', alice);
  await reached(life, later, 'closed');
});

test('a host that comes later is named and not touched, until somebody names it', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'late']);
  await using life = await bench.live();
  await publish(life, 'web', '2');
  const [, late] = bench.hosts;
  late?.disconnect();
  const id = await start(life, { batches: { count: 1 }, pause: 'none' });
  await reached(life, id, 'done');
  if (late === undefined) return;
  late.connect(life.ops.desk);
  bench.clock.advance(60_000);
  t.deepEqual(late.done, []);
  t.like((await life.ops.releases.detail(id)).late, [{ peer: late.peer }]);
  const { orders } = life.ops.releases;
  await t.throwsAsync(orders.preview({ id }, alice), { code: 'ERR_NOT_FOUND' });
  const plan = await orders.preview({ id, on: `host=${late.peer}` }, alice);
  t.like(plan.hosts, [{ state: 'late', should: '2' }]);
  await orders.start({ id, on: `host=${late.peer}`, plan: plan.plan }, alice);
  await becomes(async () => (await owedTo(life, id, late))?.state === 'mended');
  t.deepEqual(late.done, ['package.install 2', 'package.switch 2']);
});

test('with a locked key nothing is told to anybody, and policies see who repairs what', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'two']);
  await using life = await bench.live();
  const { id, lost } = await withLost(bench, life);
  const eve = await withKey(life, 'eve', { verbs: ['release.list'] });
  const { orders, repairs } = life.ops.releases;
  await t.throwsAsync(orders.preview({ id }, eve), { code: 'ERR_DENIED' });
  const carol = await withKey(life, 'carol');
  const { plan } = await orders.preview({ id }, carol);
  await orders.start({ id, plan }, carol);
  const input = { id: carol.principal.key ?? '' };
  await life.ops.door.perform({ verb: 'key.lock', caller: alice, input, object: input }, async () =>
    life.ops.principals.lock(input.id),
  );
  const before = lost.done.length;
  lost.connect(life.ops.desk);
  bench.clock.advance(60_000);
  await repairs.alone(async () => undefined);
  t.is(lost.done.length, before);
  t.is((await owedTo(life, id, lost))?.heldFor, 'the key is locked');
  await orders.start({ id, plan }, alice);
  await becomes(async () => (await owedTo(life, id, lost))?.state === 'mended');
});

test('a release that was closed, or goes on, is not repaired', async (t) => {
  const bench = await ReleaseBench.open(t, ['one', 'two']);
  await using life = await bench.live();
  await publish(life, 'web', '2');
  const id = await start(life, { pause: 'every' });
  await reached(life, id, 'paused');
  const { orders } = life.ops.releases;
  await t.throwsAsync(orders.preview({ id }, alice), { message: /has not ended/ });
  await life.ops.releases.control(id, 'close', alice);
  await reached(life, id, 'closed');
  const error = await t.throwsAsync(orders.preview({ id }, alice), { message: /was closed/ });
  t.is(CodedError.from(error).code, 'ERR_CONFLICT');
});
