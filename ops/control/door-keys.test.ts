import test from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import {
  DoorBench,
  benchFolder,
  found,
  ann,
  numbered,
  runner,
} from '../../test/support/door-bench.ts';

const HOUR = 3_600_000;

test('rotation under load loses no call: both secrets hold during the overlap, the old one ends after it', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const issued = await bench.create('ann');
  await bench.put('runner', runner);
  const load = numbered(50).map(async (host) => bench.run(found(bench, issued.key), [host]));
  const rotated = await bench.rotate(issued.id, HOUR);
  const more = numbered(50, 50).flatMap((host) => [
    bench.run(found(bench, issued.key), [host]),
    bench.run(found(bench, rotated.key), [host]),
  ]);
  await t.notThrowsAsync(Promise.all([...load, ...more]));
  t.is(rotated.id, issued.id);
  bench.clock.advance(HOUR - 1);
  t.truthy(bench.principals.find(`Bearer ${issued.key}`));
  bench.clock.advance(1);
  t.is(bench.principals.find(`Bearer ${issued.key}`), undefined);
  t.truthy(bench.principals.find(`Bearer ${rotated.key}`));
  const last = await bench.rotate(issued.id, 0);
  t.is(bench.principals.find(`Bearer ${rotated.key}`), undefined, 'no overlap ends it at once');
  t.truthy(bench.principals.find(`Bearer ${last.key}`));
});

test('rotating again and again keeps a bounded number of secrets', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const { id } = await bench.create('ann');
  for (let times = 0; times < 3; times += 1) await bench.rotate(id);
  await t.throwsAsync(bench.rotate(id), { code: 'ERR_BUSY' });
  await t.notThrowsAsync(bench.rotate(id, 0));
});

test('a locked key opens nothing at once, for good, and who runs its calls is told', async (t) => {
  const directory = await benchFolder(t);
  const clock = new ManualClock();
  const bench = await DoorBench.open(directory, clock);
  const { issued, principal } = await ann(bench);
  const ended: string[] = [];
  using _listening = bench.principals.onLock((id) => void ended.push(id));
  const locking = bench.lock(issued.id);
  const raced = bench.run(principal, ['host-0']).then(
    () => ended.length,
    (error: unknown) => CodedError.from(error).code,
  );
  await locking;
  t.deepEqual(ended, [issued.id]);
  t.true(
    [0, 'ERR_UNAUTHORIZED'].includes(await raced),
    'before the lock was told of, or not at all',
  );
  t.is(bench.principals.find(`Bearer ${issued.key}`), undefined);
  await t.throwsAsync(bench.run(principal, ['host-1']), { code: 'ERR_UNAUTHORIZED' });
  t.like((await bench.entries()).at(-1), {
    decision: 'denied',
    kind: 'call.run',
    principal: 'ann',
  });
  await t.throwsAsync(bench.rotate(issued.id), { code: 'ERR_REQUEST', message: /^id: .*locked/ });
  await bench[Symbol.asyncDispose]();
  await using again = await DoorBench.open(directory, clock);
  t.is(again.principals.find(`Bearer ${issued.key}`), undefined);
});

test('a lock of which nobody knows whether it is written is refused, and ends the key nevertheless', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const { issued } = await ann(bench);
  bench.audit.failure = new CodedError('ERR_BUSY', 'too many records wait');
  await t.throwsAsync(bench.lock(issued.id), { code: 'ERR_BUSY' });
  t.truthy(bench.principals.find(`Bearer ${issued.key}`), 'it is certain that there is no lock');
  bench.audit.failure = new CodedError('ERR_AUDIT_UNWRITABLE', 'no space');
  await t.throwsAsync(bench.lock(issued.id), { code: 'ERR_AUDIT_UNWRITABLE' });
  t.is(bench.principals.find(`Bearer ${issued.key}`), undefined);
  bench.audit.failure = undefined;
  const ended: string[] = [];
  using _listening = bench.principals.onLock((id) => void ended.push(id));
  await bench.lock(issued.id);
  t.deepEqual(ended, [issued.id]);
  t.is(bench.principals.find(`Bearer ${issued.key}`), undefined);
});

test('a key expires, its secret is on no disk and in no record, and a wrong secret opens nothing', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const { key, id } = await bench.create('ann', undefined, HOUR);
  t.regex(key, /^odo_[0-9a-f]{16}_[\w-]{43}$/);
  const secret = key.slice(-43);
  t.deepEqual(found(bench, key), { name: 'ann', key: id });
  t.is(bench.principals.find(`bearer   ${key} `)?.name, 'ann');
  const wrong = `${key.slice(0, -43)}${secret.startsWith('A') ? 'B' : 'A'}${secret.slice(1)}`;
  const unknown = `odo_${'0'.repeat(16)}_${secret}`;
  for (const header of [
    undefined,
    '',
    key,
    `Basic ${key}`,
    `Bearer ${key}x`,
    `Bearer ${wrong}`,
    `Bearer ${unknown}`,
  ]) {
    t.is(bench.principals.find(header), undefined);
  }
  await bench.principals.flushUsed();
  const rows = JSON.stringify(await Array.fromAsync(bench.store.range({ gte: ' ', lt: '~' })));
  t.false(rows.includes(secret));
  t.true(rows.includes(id));
  bench.clock.advance(HOUR);
  t.is(bench.principals.find(`Bearer ${key}`), undefined);
  await t.throwsAsync(bench.rotate(id), { code: 'ERR_REQUEST', message: /expired/ });
});

test('when a key was last used is written once a minute, and there after a restart', async (t) => {
  const directory = await benchFolder(t);
  const clock = new ManualClock();
  const bench = await DoorBench.open(directory, clock);
  const { key, id } = await bench.create('ann');
  for (let times = 0; times < 100; times += 1) found(bench, key);
  t.deepEqual(await bench.rows('key-used/'), []);
  clock.advance(60_000);
  await bench.principals.flushUsed();
  const [row] = await bench.rows('key-used/');
  t.like(row, { key: `key-used/${id}`, value: { at: clock.now() - 60_000 } });
  found(bench, key);
  await bench[Symbol.asyncDispose]();
  await using again = await DoorBench.open(directory, clock);
  t.is(again.principals.list()[0]?.lastUsed, clock.now());
});

test('keys that ended long ago make room', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const old = await bench.create('ann', undefined, HOUR);
  const locked = await bench.create('bob');
  await bench.lock(locked.id);
  bench.clock.advance(89 * 24 * HOUR);
  const young = await bench.create('cat');
  const ids = bench.principals.list().map(({ id }) => id);
  t.deepEqual(ids, [old.id, locked.id, young.id].toSorted());
  bench.clock.advance(2 * 24 * HOUR);
  const younger = await bench.create('cat');
  t.deepEqual(
    bench.principals
      .list()
      .map(({ id }) => id)
      .toSorted(),
    [young.id, younger.id].toSorted(),
  );
});
