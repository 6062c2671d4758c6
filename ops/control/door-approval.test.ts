import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { Office, allow, fourEyes, office } from '../../test/support/approval-office.ts';
import { DoorBench, OPERATOR, benchFolder, found } from '../../test/support/door-bench.ts';
import { approvalLimits } from './approval-record.ts';
import type { PolicyRule } from './policy-rule.ts';
import type { Principal } from './principal.ts';

const HOUR = approvalLimits.defaultTtlMs;

const needed = (obstacle: string, message: RegExp) => ({
  code: 'ERR_APPROVAL_NEEDED',
  message,
  obstacle,
});

/** Checks that a run is refused with this obstacle, and that the message says so. */
async function refused(
  t: ExecutionContext,
  run: Promise<string>,
  { code, message, obstacle }: ReturnType<typeof needed>,
): Promise<void> {
  const error = await t.throwsAsync(run, { code, message });
  t.is(CodedError.from(error).detail['obstacle'], obstacle);
}

test('what needs agreement is done once one of each list has agreed, and only once', async (t) => {
  const [bench, here] = await office(t);
  await refused(
    t,
    here.run(),
    needed('asked', /ann, bob; and eve must agree before .* --approval/),
  );
  const approval = await here.ask();
  t.is(await here.ask(), approval, 'asked again it is the same');
  t.deepEqual(await bench.rows('call/'), []);
  await refused(t, here.run({ approval }), needed('waiting', /one of ann, bob; and eve must/));
  t.is(await here.agree('bob', approval), 'waiting');
  await refused(t, here.run({ approval }), needed('waiting', /: eve must agree/));
  t.is(await here.agree('eve', approval), 'approved');
  await refused(t, here.run(), needed('asked', /: bob, eve agreed; ask for .* --approval/));
  t.is(await here.run({ approval }), 'done');
  await refused(t, here.run({ approval }), needed('unknown', /was used/));
  t.is(await here.runs(), 1);
  t.deepEqual(await bench.rows('approval/'), []);
  const entries = await bench.entries();
  t.is(entries.filter(({ kind }) => kind === 'approval.ask').length, 1);
  t.like(
    entries.find(({ kind, decision }) => kind === 'call.run' && decision === 'allowed'),
    { detail: { approval, approvedBy: ['bob', 'eve'], policy: 'all' } },
  );
});

test('who asks cannot agree, nor who is not named, nor anybody through a policy', async (t) => {
  const [bench, here] = await office(t);
  const approval = await here.ask();
  await t.throwsAsync(here.agree('ann', approval), { code: 'ERR_DENIED', message: /himself/ });
  await t.throwsAsync(here.agree('zoe', approval), { code: 'ERR_DENIED', message: /another/ });
  await t.throwsAsync(here.deny('zoe', approval), { code: 'ERR_DENIED' });
  const zoe = { principal: here.who('zoe'), source: '10.0.0.9' };
  await t.throwsAsync(here.approvals.show(approval, zoe), { code: 'ERR_DENIED' });
  t.deepEqual((await here.approvals.list({}, zoe)).items, []);
  await t.throwsAsync(here.approvals.agree(approval, OPERATOR), { code: 'ERR_DENIED' });
  t.is((await here.approvals.list({}, OPERATOR)).items.length, 1, 'who may look');
  const { audit } = bench;
  const denials = (await audit.log.list({ limit: 100 })).records.filter(
    ({ decision }) => decision === 'denied',
  );
  t.is(denials.length, 5, 'each attempt is in the audit');
  await bench.put('hush', { effect: 'forbid', principals: ['eve'], verbs: ['approval.*'] });
  await t.throwsAsync(here.agree('eve', approval), { code: 'ERR_DENIED', message: /hush/ });
});

test('one who agrees twice stands for one list, also with two keys', async (t) => {
  const approvers = [
    ['bob', 'eve'],
    ['bob', 'eve', 'zoe'],
  ];
  const [bench, here] = await office(t, { ...fourEyes, approvers });
  const approval = await here.ask();
  t.is(await here.agree('bob', approval), 'waiting');
  t.is(await here.agree('bob', approval), 'waiting');
  const second = found(bench, (await bench.create('bob')).key);
  const view = await here.approvals.agree(approval, { principal: second, source: '' });
  t.like(view, { state: 'waiting', agreed: ['bob'], open: [['bob', 'eve', 'zoe']] });
  await refused(t, here.run({ approval }), needed('waiting', /one of bob, eve, zoe must agree/));
});

test('another argument, another host or another key is something else than was agreed to', async (t) => {
  const [bench, here] = await office(t);
  const approval = await here.ask();
  for (const name of ['bob', 'eve']) await here.agree(name, approval);
  const other = found(bench, (await bench.create('ann')).key);
  const cases = [
    [{ args: ['-b'] }, /it differs in args/],
    [{ hosts: ['h1', 'h2', 'h3'] }, /web-h3 came to its hosts since/],
    [{ hosts: ['h1'] }, /web-h2 is not among its hosts any more/],
    [{ by: other }, /with another key/],
  ] as const;
  for (const [change, message] of cases) {
    const asked = 'by' in change ? change : structuredClone(change);
    await refused(t, here.run({ ...asked, approval } as never), needed('changed', message));
  }
  await refused(t, here.run({ approval, by: 'zoe' }), needed('unknown', /none of yours/));
  await refused(t, here.run({ approval: '0'.repeat(16) }), needed('unknown', /was used/));
  t.is(await here.runs(), 0);
  t.is(await here.run({ approval, hosts: ['h2', 'h1'] }), 'done', 'in whatever order');
});

test('policies that want others by now want to be asked again', async (t) => {
  const [bench, here] = await office(t);
  const approval = await here.ask();
  for (const name of ['bob', 'eve']) await here.agree(name, approval);
  await bench.put('more', { ...fourEyes, approvers: [['zoe']] });
  await refused(t, here.run({ approval }), needed('changed', /policies want other people/));
  const next = await here.ask();
  t.not(next, approval);
  for (const name of ['bob', 'eve']) t.is(await here.agree(name, next), 'waiting');
  t.is(await here.agree('zoe', next), 'approved');
  t.is(await here.run({ approval: next }), 'done');
});

test('used ten times at once it is done once', async (t) => {
  const [, here] = await office(t);
  const approval = await here.ask();
  for (const name of ['bob', 'eve']) await here.agree(name, approval);
  const uses = Array.from({ length: 10 }, async () => here.run({ approval }));
  const results = await Promise.allSettled(uses);
  t.is(results.filter(({ status }) => status === 'fulfilled').length, 1);
  for (const result of results) {
    if (result.status === 'rejected') {
      t.is(CodedError.from(result.reason).code, 'ERR_APPROVAL_NEEDED');
    }
  }
  t.is(await here.runs(), 1);
});

test('a restart keeps what waits and who agreed, and what was used stays used', async (t) => {
  const directory = await benchFolder(t);
  const clock = new ManualClock();
  const first = await DoorBench.open(directory, clock);
  const before = await Office.open(first);
  await first.put('a-second', { ...fourEyes, approvers: [['zoe', 'eve']] });
  const used = await before.ask({ args: ['-x'] });
  for (const name of ['bob', 'eve']) await before.agree(name, used);
  await before.run({ args: ['-x'], approval: used });
  const approval = await before.ask();
  await before.agree('bob', approval);
  await first[Symbol.asyncDispose]();
  await using second = await DoorBench.open(directory, clock);
  const after = before.again(second);
  const replay = after.run({ args: ['-x'], approval: used });
  await refused(t, replay, needed('unknown', /was used/));
  t.is(await after.ask(), approval);
  t.is(await after.agree('eve', approval), 'approved');
  t.is(await after.run({ approval }), 'done');
});

test('when the audit cannot be written nothing is asked, and an approval is not used up', async (t) => {
  const [bench, here] = await office(t);
  bench.audit.failure = new CodedError('ERR_AUDIT_UNWRITABLE', 'no space');
  await t.throwsAsync(here.ask(), { code: 'ERR_AUDIT_UNWRITABLE' });
  bench.audit.failure = undefined;
  t.deepEqual((await here.approvals.list({}, OPERATOR)).items, []);
  const approval = await here.ask();
  for (const name of ['bob', 'eve']) await here.agree(name, approval);
  bench.audit.failure = new CodedError('ERR_AUDIT_UNWRITABLE', 'no space');
  await t.throwsAsync(here.run({ approval }), { code: 'ERR_AUDIT_UNWRITABLE' });
  bench.audit.failure = undefined;
  t.is(await here.run({ approval }), 'done');
});

test('an approval expires, agreed to or not, and its row goes', async (t) => {
  const [bench, here] = await office(t, { ...fourEyes, ttlMs: 10 * 60_000 });
  const [agreed, waiting] = [await here.ask(), await here.ask({ args: [] })];
  for (const name of ['bob', 'eve']) await here.agree(name, agreed);
  bench.clock.advance(10 * 60_000 - 1);
  t.is((await here.approvals.list({}, OPERATOR)).items.length, 2);
  bench.clock.jump(1);
  await refused(t, here.run({ approval: agreed }), needed('unknown', /has expired/));
  await t.throwsAsync(here.agree('bob', waiting), { code: 'ERR_NOT_FOUND' });
  t.not(await here.ask(), agreed, 'asked again it is another');
  await bench.approvals.sweep();
  t.is((await bench.rows('approval/')).length, 1);
});

test('one who denies is enough, for good; who asked may take it back', async (t) => {
  const [, here] = await office(t);
  const approval = await here.ask();
  for (const name of ['bob', 'eve']) await here.agree(name, approval);
  t.is(await here.deny('eve', approval), 'denied');
  await refused(t, here.run({ approval }), needed('denied', /eve denied it/));
  await t.throwsAsync(here.agree('eve', approval), { code: 'ERR_CONFLICT', message: /for good/ });
  const next = await here.ask();
  t.not(next, approval);
  t.is(await here.deny('ann', next), 'denied');
});

test('who agreed with a key that was locked since counts no more, until he agrees with another', async (t) => {
  const [bench, here] = await office(t);
  const approval = await here.ask();
  for (const name of ['bob', 'eve']) await here.agree(name, approval);
  await bench.lock(here.keys.get('eve')?.id ?? '');
  await refused(t, here.run({ approval }), needed('waiting', /: eve must agree/));
  const principal = found(bench, (await bench.create('eve')).key);
  t.is((await here.approvals.agree(approval, { principal, source: '' })).state, 'approved');
  t.is(await here.run({ approval }), 'done');
});

test('what happens while an approval is used counts: a lock, a denial, its end, one more who agrees', async (t) => {
  const [bench, here] = await office(t);
  const approved = async (args: string[]): Promise<{ args: string[]; approval: string }> => {
    const approval = await here.ask({ args });
    for (const name of ['bob', 'eve']) await here.agree(name, approval);
    return { args, approval };
  };
  const first = await approved(['-1']);
  const denied = here.run({ ...first, meanwhile: async () => here.deny('eve', first.approval) });
  await refused(t, denied, needed('denied', /eve denied it/));
  const second = await approved(['-2']);
  const agreed = here.run({ ...second, meanwhile: async () => here.agree('bob', second.approval) });
  t.is(await agreed, 'done');
  const third = await approved(['-3']);
  const late = here.run({ ...third, meanwhile: async () => bench.clock.jump(HOUR) });
  await refused(t, late, needed('unknown', /has expired/));
  const fourth = await approved(['-4']);
  const lock = async (): Promise<unknown> => bench.lock(here.keys.get('eve')?.id ?? '');
  await refused(t, here.run({ ...fourth, meanwhile: lock }), needed('waiting', /: eve must agree/));
  t.is(await here.runs(), 1);
});

test('who was given the key that asks, or gave himself the key that agrees, does not count', async (t) => {
  const [bench, here] = await office(t);
  const bot = await here.issue('bot', 'bob');
  const ofBot = await here.ask({ by: bot });
  await t.throwsAsync(here.agree('bob', ofBot), {
    code: 'ERR_DENIED',
    message: /given out to bob/,
  });
  const mask = { principal: await here.issue('eve', 'ann'), source: '10.0.0.3' };
  const ofAnn = await here.ask();
  const masked = here.approvals.agree(ofAnn, mask);
  await t.throwsAsync(masked, { code: 'ERR_DENIED', message: /given out to ann, who asks/ });
  // Agreed first, and took the key over afterwards.
  for (const name of ['bob', 'eve']) await here.agree(name, ofAnn);
  const id = here.keys.get('ann')?.id ?? '';
  const asker = here.who('ann');
  await bench.door.perform(
    {
      verb: 'key.rotate',
      caller: { principal: here.who('eve'), source: '' },
      input: { id },
      object: { id },
    },
    async () => bench.principals.rotate({ id }, here.who('eve')),
  );
  await refused(t, here.run({ by: asker, approval: ofAnn }), needed('waiting', /: eve must agree/));
});

test('one who had the keys of several made is not several people', async (t) => {
  const [bench, here] = await office(t);
  const agreeing = async (id: string, principal: Principal): Promise<string> =>
    (await here.approvals.agree(id, { principal, source: '' })).state;
  // bob agrees for himself, and then as eve.
  const first = await here.ask();
  t.is(await here.agree('bob', first), 'waiting');
  const eveByBob = await here.issue('eve', 'bob');
  const twice = agreeing(first, eveByBob);
  await t.throwsAsync(twice, {
    code: 'ERR_DENIED',
    message: /bob may be both: keys of eve and bob/,
  });
  // zoe agrees as two others, and is none of them.
  const second = await here.ask({ args: ['-2'] });
  t.is(await agreeing(second, await here.issue('bob', 'zoe')), 'waiting');
  const eveByZoe = await here.issue('eve', 'zoe');
  await t.throwsAsync(agreeing(second, eveByZoe), {
    code: 'ERR_DENIED',
    message: /zoe may be both/,
  });
  // zoe asks as another, and agrees as yet another.
  const third = await here.ask({ by: await here.issue('bot', 'zoe') });
  await t.throwsAsync(agreeing(third, eveByZoe), { code: 'ERR_DENIED', message: /to zoe, as/ });
  // eve agreed with a key of hers, and bob took that over afterwards.
  const fourth = await here.ask({ args: ['-4'] });
  for (const name of ['bob', 'eve']) await here.agree(name, fourth);
  const id = here.keys.get('eve')?.id ?? '';
  await bench.door.perform(
    {
      verb: 'key.rotate',
      caller: { principal: here.who('bob'), source: '' },
      input: { id },
      object: { id },
    },
    async () => bench.principals.rotate({ id }, here.who('bob')),
  );
  await refused(t, here.run({ args: ['-4'], approval: fourth }), needed('waiting', /: eve must/));
});

test('a forbid wins over an approve, and an approve lets nobody do what no allow covers', async (t) => {
  const [bench, here] = await office(t);
  await bench.put('all', { ...allow, principals: ['bob', 'eve', 'zoe'] });
  await t.throwsAsync(here.run(), { code: 'ERR_DENIED', message: /no policy allows/ });
  await bench.put('all', allow);
  const approval = await here.ask();
  for (const name of ['bob', 'eve']) await here.agree(name, approval);
  await bench.put('stop', { effect: 'forbid', principals: ['*'], verbs: ['call.run'] });
  await t.throwsAsync(here.run({ approval }), { code: 'ERR_DENIED', message: /policy stop/ });
  t.is(await here.run({ by: OPERATOR.principal }), 'done', 'no policy is about the operator');
});

test('an approve that is about one host of many is about the call', async (t) => {
  const [, here] = await office(t, { ...fourEyes, hosts: ['peer=h2'] });
  t.is(await here.run({ hosts: ['h1'] }), 'done');
  await refused(t, here.run({ hosts: ['h1', 'h2'] }), needed('asked', /must agree/));
});

test('what waits is bounded for each principal', async (t) => {
  const [, here] = await office(t);
  const asked = await Promise.allSettled(
    Array.from({ length: approvalLimits.each + 10 }, async (_none, at) =>
      here.ask({ args: [String(at)] }),
    ),
  );
  t.is(asked.filter(({ status }) => status === 'fulfilled').length, approvalLimits.each);
  const last = asked.at(-1);
  t.is(last?.status === 'rejected' ? CodedError.from(last.reason).code : '', 'ERR_BUSY');
  t.truthy(await here.ask({ by: 'zoe' }), 'another may ask');
});

test('a change of policies that widens is agreed to as it was shown; one that narrows needs nobody', async (t) => {
  const [bench, here] = await office(t, { ...fourEyes, verbs: ['policy.*'], ttlMs: HOUR });
  const put = async (name: string, policy: PolicyRule, approval?: string): Promise<unknown> => {
    const quoted = approval === undefined ? {} : { approval };
    const caller = { principal: here.who('ann'), source: '10.0.0.1', ...quoted };
    return bench.door.perform(
      { verb: 'policy.put', caller, input: { name, policy }, object: { id: name } },
      async () => bench.policies.put(name, policy),
    );
  };
  const reader: PolicyRule = {
    effect: 'allow',
    principals: ['zoe'],
    verbs: ['key.list', 'call.list'],
  };
  const asked = await t.throwsAsync(put('reader', reader), { code: 'ERR_APPROVAL_NEEDED' });
  const approval = String(CodedError.from(asked).detail['approval']);
  const shown = await here.approvals.show(approval, { principal: here.who('bob'), source: '' });
  t.deepEqual(shown.plan, { rule: reader });
  for (const name of ['bob', 'eve']) await here.agree(name, approval);
  await bench.put('reader', { ...reader, verbs: ['key.list'] });
  await refused(
    t,
    put('reader', reader, approval).then(() => 'done'),
    needed('changed', /what it replaces has changed/),
  );
  const narrow: PolicyRule = { ...reader, verbs: ['key.list'], maxRisk: 'read' };
  await put('reader', narrow);
  t.like((await bench.entries()).at(-1), {
    kind: 'policy.put',
    principal: 'ann',
    detail: {
      narrower: true,
      policy: 'all',
      rule: narrow,
      former: { ...reader, verbs: ['key.list'] },
    },
  });
  await t.throwsAsync(put('reader', reader), { code: 'ERR_APPROVAL_NEEDED' });
  await put('none', { effect: 'forbid', principals: ['*'], verbs: ['key.*'] });
  await t.throwsAsync(put('four-eyes', reader), { code: 'ERR_APPROVAL_NEEDED' }, 'its own end');
});
