import test from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { DoorBench, OPERATOR, benchFolder, found } from '../../test/support/door-bench.ts';
import type { PrincipalCaps } from './caps.ts';
import { denialLimits } from './door-denials.ts';
import type { PolicyRule } from './policy-rule.ts';
import { operator } from './principal.ts';
import type { Principal } from './principal.ts';
import type { IssuedKey } from './principals.ts';

const HOUR = 3_600_000;
const runner: PolicyRule = { effect: 'allow', principals: ['ann'], verbs: ['call.run'] };
const fiveAnHour: PrincipalCaps = { hosts: { max: 5, windowMs: HOUR } };
const numbered = (count: number, from = 0): string[] =>
  Array.from({ length: count }, (_, at) => `host-${from + at}`);

/** ann, who may run on five hosts an hour. */
async function ann(bench: DoorBench): Promise<{ issued: IssuedKey; principal: Principal }> {
  const issued = await bench.create('ann', fiveAnHour);
  await bench.put('runner', runner);
  return { issued, principal: found(bench, issued.key) };
}

test('a cap on hosts is not beaten by many calls of one host each, and passes with its window', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const { principal } = await ann(bench);
  for (const host of numbered(5)) {
    await bench.run(principal, [host]);
    bench.clock.advance(HOUR / 10);
  }
  const refused = await t.throwsAsync(bench.run(principal, ['host-5']), { code: 'ERR_CAP' });
  t.like(refused, { detail: { cap: 'hosts', max: 5, used: 5, more: 1 } });
  await t.notThrowsAsync(bench.run(principal, ['host-3', 'host-4']), 'those it has used already');
  await t.throwsAsync(bench.run(principal, ['host-4', 'host-5']), { code: 'ERR_CAP' });
  bench.clock.advance(HOUR / 2);
  await t.notThrowsAsync(bench.run(principal, ['host-5']), 'host-0 is an hour ago');
  await t.throwsAsync(bench.run(principal, ['host-6']), { code: 'ERR_CAP' });
  await t.throwsAsync(bench.run(principal, numbered(6)), { code: 'ERR_CAP' });
  bench.clock.advance(2 * HOUR);
  await t.notThrowsAsync(bench.run(principal, numbered(5, 100)));
  t.is((await bench.rows('cap/ann/host/')).length, 5, 'rows of hosts that count no more are gone');
});

test('a cap on hosts is not beaten by a hundred calls at the same time', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const { principal } = await ann(bench);
  const asked = numbered(100).map(async (host) => bench.run(principal, [host]));
  const results = await Promise.allSettled(asked);
  const done = results.filter(({ status }) => status === 'fulfilled');
  t.is(done.length, 5);
  for (const result of results) {
    if (result.status === 'rejected') t.is(CodedError.from(result.reason).code, 'ERR_CAP');
  }
  t.is((await bench.rows('call/')).length, 5, 'and no more calls exist');
});

test('a cap is not beaten by closing and opening the store, by rotating the key, nor by another key', async (t) => {
  const directory = await benchFolder(t);
  const clock = new ManualClock();
  const first = await DoorBench.open(directory, clock);
  const { issued, principal } = await ann(first);
  await first.run(principal, numbered(4));
  await first[Symbol.asyncDispose]();
  await using bench = await DoorBench.open(directory, clock);
  await bench.run(found(bench, issued.key), ['host-4']);
  const rotated = await bench.rotate(issued.id);
  const other = await bench.create('ann');
  for (const { key } of [issued, rotated, other]) {
    const asked = bench.run(found(bench, key), ['host-5']);
    await t.throwsAsync(asked, { code: 'ERR_CAP' });
  }
});

test('a cap on calls counts calls, and what was not committed has used nothing', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const issued = await bench.create('ann', { calls: { max: 3, windowMs: HOUR } });
  await bench.put('runner', runner);
  const principal = found(bench, issued.key);
  bench.audit.failure = new CodedError('ERR_AUDIT_UNWRITABLE', 'no space');
  for (let tries = 0; tries < 5; tries += 1) {
    await t.throwsAsync(bench.run(principal, ['host-0']), { code: 'ERR_AUDIT_UNWRITABLE' });
  }
  bench.audit.failure = undefined;
  for (let calls = 0; calls < 3; calls += 1) await bench.run(principal, ['host-0']);
  await t.throwsAsync(bench.run(principal, ['host-0']), { code: 'ERR_CAP' });
  for (let hours = 0; hours < 5; hours += 1) {
    bench.clock.advance(HOUR);
    await bench.run(principal, ['host-0']);
  }
  t.is((await bench.rows('cap/ann/call/')).length, 1, 'rows of calls that count no more are gone');
});

test('what was used by a clock that was ahead counts for one window, and not until that time comes', async (t) => {
  const directory = await benchFolder(t);
  const early = new ManualClock();
  const first = await DoorBench.open(directory, early);
  const { issued, principal } = await ann(first);
  early.jump(10 * HOUR);
  await first.run(principal, numbered(5));
  await first[Symbol.asyncDispose]();
  const clock = new ManualClock();
  await using bench = await DoorBench.open(directory, clock);
  await t.throwsAsync(bench.run(found(bench, issued.key), ['host-5']), { code: 'ERR_CAP' });
  clock.advance(HOUR);
  await t.notThrowsAsync(bench.run(found(bench, issued.key), ['host-5']));
});

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

test('the door denies what no policy allows, and the denial is in the audit', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const { key, id } = await bench.create('eve');
  const principal = found(bench, key);
  await t.throwsAsync(bench.run(principal, ['host-0']), {
    code: 'ERR_DENIED',
    message: /no policy/,
  });
  await bench.put('nobody', { ...runner, effect: 'forbid', principals: ['*'] });
  await t.throwsAsync(bench.run(principal, ['host-0']), { code: 'ERR_DENIED', message: /nobody/ });
  const denied = (await bench.entries()).filter(({ decision }) => decision === 'denied');
  t.is(denied.length, 2);
  t.like(denied[1], {
    kind: 'call.run',
    principal: 'eve',
    source: '10.0.0.1',
    object: 'uptime',
    detail: { key: id, command: 'uptime', hosts: 1, policy: 'nobody' },
  });
  t.deepEqual(await bench.rows('call/'), []);
  await t.notThrowsAsync(bench.run(operator, ['host-0']), 'no policy is about the operator');
});

test('a cap that is reached is in the audit', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const { principal } = await ann(bench);
  await t.throwsAsync(bench.run(principal, numbered(6)), { code: 'ERR_CAP' });
  t.like((await bench.entries()).at(-1), {
    decision: 'denied',
    principal: 'ann',
    detail: { code: 'ERR_CAP', cap: 'hosts', hosts: 6, max: 5, used: 0, more: 6 },
  });
});

test('a flood of denials becomes a bounded number of records, and one with how many more there were', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const { key } = await bench.create('eve');
  const principal = found(bench, key);
  const before = (await bench.entries()).length;
  for (let times = 0; times < 50; times += 1) {
    await t.throwsAsync(bench.run(principal, ['host-0'], '10.0.0.9'), { code: 'ERR_DENIED' });
  }
  for (let source = 0; source < 300; source += 1) {
    const asked = bench.run(principal, ['host-0'], `10.1.${source}.1`);
    await t.throwsAsync(asked, { code: 'ERR_DENIED' });
  }
  const { each, sources } = denialLimits;
  t.is((await bench.entries()).length - before, each + (sources - 1) + each);
  bench.clock.advance(denialLimits.windowMs);
  await bench.door[Symbol.asyncDispose]();
  const sums = (await bench.entries()).filter(({ kind }) => kind === 'door.denied');
  t.deepEqual(
    sums.map(({ source, detail }) => [source, detail['denied']]),
    [
      ['10.0.0.9', 50 - each],
      ['others', 300 - (sources - 1) - each],
    ],
  );
});

test('an audit that cannot be written refuses what changes something, and nothing is changed; reads work', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const { issued, principal } = await ann(bench);
  bench.audit.failure = new CodedError('ERR_AUDIT_UNWRITABLE', 'no space');
  await t.throwsAsync(bench.create('bob'), { code: 'ERR_AUDIT_UNWRITABLE' });
  await t.throwsAsync(bench.put('more', runner), { code: 'ERR_AUDIT_UNWRITABLE' });
  await t.throwsAsync(bench.run(principal, ['host-0']), { code: 'ERR_AUDIT_UNWRITABLE' });
  await t.throwsAsync(
    bench.run(principal, numbered(6)),
    { code: 'ERR_CAP' },
    'a refusal stays one',
  );
  t.is(bench.policies.list().length, 1);
  t.deepEqual(await bench.rows('call/'), []);
  const request = { verb: 'key.list', caller: OPERATOR, input: {}, object: { id: '' } } as const;
  const keys = await bench.door.read(request, () => bench.principals.list());
  t.deepEqual(
    keys.map(({ id }) => id),
    [issued.id],
  );
});

test('the record of a verb holds who, from where, what and by which policy, and no read leaves one', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const { issued, principal } = await ann(bench);
  await bench.run(principal, ['host-0']);
  const entries = await bench.entries();
  t.deepEqual(
    entries.map(({ kind, principal: name, object }) => [kind, name, object]),
    [
      ['key.create', 'operator', 'ann'],
      ['policy.put', 'operator', 'runner'],
      ['call.run', 'ann', 'uptime'],
    ],
  );
  t.like(entries[0]?.detail, { key: issued.id, caps: fiveAnHour });
  t.like(entries[2]?.detail, { key: issued.id, policy: 'runner' });
  const request = { verb: 'key.list', caller: OPERATOR, input: {}, object: { id: '' } } as const;
  await bench.door.read(request, () => undefined);
  t.is((await bench.entries()).length, 3);
});

test('the door refuses what does not fit the schema, naming the field, and leaves no record of it', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  for (const [input, field] of [
    [{ principal: 'a/b' }, 'principal'],
    [{ principal: 'ann', ttlMs: 1 }, 'ttlMs'],
    [{ principal: 'ann', more: 1 }, 'more'],
    [{ principal: 'ann', caps: { hosts: { max: 5 } } }, 'caps/hosts/windowMs'],
  ] as const) {
    const request = { verb: 'key.create', caller: OPERATOR, input, object: { id: '' } } as const;
    const asked = bench.door.perform(request, async () => t.fail());
    const refused = await t.throwsAsync(asked, { code: 'ERR_REQUEST' });
    t.like(refused, { detail: { path: `/${field}` } });
  }
  t.deepEqual(await bench.entries(), []);
  await t.throwsAsync(bench.create('operator'), { code: 'ERR_REQUEST', message: /operator/ });
  await t.throwsAsync(bench.create('door'), { code: 'ERR_REQUEST' });
});

test('a policy that could never do what it seems to is refused, naming the field', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  for (const [rule, field] of [
    [{ ...runner, verbs: ['call.forge'] }, 'verbs/0'],
    [{ ...runner, effect: 'forbid', maxRisk: 'read' }, 'maxRisk'],
    [{ ...runner, principals: ['ann', 'operator'] }, 'principals/1'],
    [{ ...runner, verbs: ['key.*'], commands: ['uptime'] }, 'commands'],
    [{ ...runner, verbs: ['key.*'], hosts: ['idc=a'] }, 'hosts'],
  ] as const) {
    const refused = await t.throwsAsync(bench.put('p', rule as PolicyRule), {
      code: 'ERR_REQUEST',
    });
    t.like(refused, { detail: { path: field } });
  }
});

test('a policy that is changed or removed counts at once, and after a restart', async (t) => {
  const directory = await benchFolder(t);
  const clock = new ManualClock();
  const bench = await DoorBench.open(directory, clock);
  const { issued, principal } = await ann(bench);
  await bench.run(principal, ['host-0']);
  await bench.put('runner', { ...runner, commands: ['restart'] });
  await t.throwsAsync(bench.run(principal, ['host-0']), { code: 'ERR_DENIED' });
  await bench[Symbol.asyncDispose]();
  await using again = await DoorBench.open(directory, clock);
  await t.throwsAsync(again.run(found(again, issued.key), ['host-0']), { code: 'ERR_DENIED' });
  await again.put('runner', runner);
  await again.run(found(again, issued.key), ['host-0']);
  const remove = async () =>
    again.door.perform(
      {
        verb: 'policy.remove',
        caller: OPERATOR,
        input: { name: 'runner' },
        object: { id: 'runner' },
      },
      async () => again.policies.remove('runner'),
    );
  await remove();
  await t.throwsAsync(again.run(found(again, issued.key), ['host-0']), { code: 'ERR_DENIED' });
  await t.throwsAsync(remove(), { code: 'ERR_NOT_FOUND' });
});

test('what was based on rows that changed meanwhile is made again', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const { id } = await bench.create('ann');
  const rotations = await Promise.allSettled([bench.rotate(id), bench.rotate(id)]);
  t.deepEqual(
    rotations.map(({ status }) => status),
    ['fulfilled', 'fulfilled'],
  );
  for (const result of rotations) {
    if (result.status === 'fulfilled') t.truthy(found(bench, result.value.key));
  }
});
