import test from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import {
  DoorBench,
  OPERATOR,
  benchFolder,
  found,
  ann,
  fiveAnHour,
  numbered,
  runner,
} from '../../test/support/door-bench.ts';
import { denialLimits } from './door-denials.ts';
import type { PolicyRule } from './policy-rule.ts';
import { operator } from './principal.ts';

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
