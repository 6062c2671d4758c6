import test from 'ava';
import * as fc from 'fast-check';
import { decide } from './policy-decision.ts';
import { risks } from './policy-rule.ts';
import { fits } from './policy.ts';
import type { Policy } from './policy-rule.ts';
import { verbOf, verbs } from './verbs.ts';

const allow = (name: string, rest: Partial<Policy> = {}): Policy => ({
  name,
  effect: 'allow',
  principals: ['ann'],
  verbs: ['call.run'],
  ...rest,
});
const host = (
  peer: string,
  idc: string,
  hostname = peer,
): { peer: string; idc: string; hostname: string } => ({
  peer,
  idc,
  hostname,
});
const run = (policies: readonly Policy[], object: Parameters<typeof decide>[1]['object'] = {}) =>
  decide(policies, { principal: 'ann', verb: 'call.run', object });

const word = fc.constantFrom('ann', 'bob', '*');
const rule = fc.record(
  {
    name: fc.string({ maxLength: 3 }),
    effect: fc.constantFrom('allow' as const, 'forbid' as const),
    principals: fc.array(word, { minLength: 1, maxLength: 3 }),
    verbs: fc.array(fc.constantFrom('call.run', 'call.*', 'key.create', '*'), {
      minLength: 1,
      maxLength: 2,
    }),
    commands: fc.array(fc.constantFrom('uptime', 'up*', 'rm', '*'), { minLength: 1, maxLength: 2 }),
    hosts: fc.array(fc.constantFrom('idc=a', 'idc=b', 'host=web*', 'peer=p1'), {
      minLength: 1,
      maxLength: 2,
    }),
    lines: fc.array(fc.constantFrom('-rf', '^up', '(a+)+$'), { minLength: 1, maxLength: 2 }),
    maxRisk: fc.constantFrom(...risks),
  },
  { requiredKeys: ['name', 'effect', 'principals', 'verbs'] },
);
const wish = fc.record({
  principal: fc.constantFrom('ann', 'bob', 'eve'),
  verb: fc.constantFrom(...Object.keys(verbs), 'call.forge', 'toString', '__proto__', ''),
  object: fc.record({
    command: fc.constantFrom(undefined, 'uptime', 'update', 'rm'),
    hosts: fc.array(
      fc.constantFrom(host('p1', 'a', 'web1'), host('p2', 'a'), host('p3', 'b', 'web2')),
      { maxLength: 3 },
    ),
    risk: fc.constantFrom(undefined, ...risks),
  }),
});

test('decide() denies what no policy speaks of, and whom it does not name', (t) => {
  t.deepEqual(run([]), { decision: 'denied' });
  t.deepEqual(run([allow('others', { principals: ['bob'] })]), { decision: 'denied' });
  t.deepEqual(run([allow('reads', { verbs: ['call.list'] })]), { decision: 'denied' });
  t.deepEqual(run([allow('runs', { verbs: ['call.*'] })]), { decision: 'allowed', policy: 'runs' });
});

test('decide() lets one forbid win over any number of allows, in any order', (t) => {
  const forbid: Policy = {
    ...allow('not-b'),
    effect: 'forbid',
    principals: ['*'],
    hosts: ['idc=b'],
  };
  const hosts = [host('p1', 'a'), host('p3', 'b')];
  for (const policies of [
    [allow('all'), forbid],
    [forbid, allow('all')],
  ]) {
    t.deepEqual(run(policies, { hosts }), { decision: 'denied', policy: 'not-b' });
    t.is(run(policies, { hosts: hosts.slice(0, 1) }).decision, 'allowed');
  }
});

test('decide() does not put two halves together: one allow covers all hosts, command and risk', (t) => {
  const policies = [
    allow('a', { hosts: ['idc=a'], commands: ['uptime'] }),
    allow('b', { hosts: ['idc=b'], commands: ['restart-*'] }),
  ];
  const [a, b] = [host('p1', 'a'), host('p3', 'b')];
  t.is(run(policies, { command: 'uptime', hosts: [a] }).policy, 'a');
  t.is(run(policies, { command: 'restart-nginx', hosts: [b] }).policy, 'b');
  t.is(run(policies, { command: 'uptime', hosts: [b] }).decision, 'denied');
  t.is(run(policies, { command: 'uptime', hosts: [a, b] }).decision, 'denied');
  const both = [...policies, allow('c', { hosts: ['idc=a', 'idc=b'] })];
  t.is(run(both, { command: 'uptime', hosts: [a, b] }).policy, 'c');
});

test('decide() covers no host where there is none, nor a name that a host has not told', (t) => {
  const policies = [allow('web', { hosts: ['host=web*'] })];
  t.is(run(policies, { hosts: [] }).decision, 'denied');
  t.is(run(policies, {}).decision, 'denied');
  t.is(run(policies, { hosts: [{ peer: 'p1' }] }).decision, 'denied');
  t.is(run([allow('c', { commands: ['*'] })], {}).decision, 'denied');
});

test('decide() holds a verb for as risky as its table says, unless the command is known', (t) => {
  const policies = [allow('mild', { maxRisk: 'change' })];
  t.is(run(policies).decision, 'denied', 'call.run is danger');
  t.is(run(policies, { risk: 'danger' }).decision, 'denied');
  t.is(run(policies, { risk: 'read' }).decision, 'allowed');
});

test('decide() never allows more because of one more forbid, wherever it stands', (t) => {
  const more = fc.record({ rule, at: fc.nat(5) });
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 5 }), more, wish, (policies, added, asked) => {
      const before = decide(policies, asked).decision;
      const forbid = { ...added.rule, effect: 'forbid' as const };
      const after = decide(policies.toSpliced(added.at, 0, forbid), asked).decision;
      return before === 'allowed' || after === 'denied';
    }),
  );
  t.pass();
});

test('decide() says the same in any order of the policies', (t) => {
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 5 }), wish, (policies, asked) => {
      const reversed = decide(policies.toReversed(), asked).decision;
      return decide(policies, asked).decision === reversed;
    }),
  );
  t.pass();
});

test('decide() denies every verb that is not in the table, whatever policies say', (t) => {
  const all = [allow('all', { principals: ['*'], verbs: ['*'] })];
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        wish.map(({ verb }) => verb),
      ),
      (verb) => {
        const { decision } = decide(all, { principal: 'ann', verb, object: {} });
        const known = verbOf(verb);
        return (decision === 'allowed') === (known !== undefined && known.isForNamed !== true);
      },
    ),
  );
  t.pass();
});

test('fits() is what the same pattern says as a regular expression', (t) => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 12 });
  const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*'), maxLength: 6 });
  fc.assert(
    fc.property(pattern, text, (stars, plain) => {
      const parts = stars.split('*').map((part) => part.replaceAll('.', '\\.'));
      return fits(stars, plain) === new RegExp(`^${parts.join('.*')}$`).test(plain);
    }),
    { numRuns: 1_000 },
  );
  t.false(fits('*', undefined));
});

test('a forbid with lines denies what looks so, however it is spaced, and nothing else', (t) => {
  const policies = [
    allow('all'),
    allow('no-wipe', { effect: 'forbid', lines: ['\\brm .*-[a-z]*r[a-z]* /( |$)'] }),
  ];
  const decided = (command: string, args: readonly string[]): string =>
    run(policies, { command, args, hosts: [] }).decision;
  t.is(decided('rm', ['-rf', '/']), 'denied');
  t.is(decided('sh', ['-c', 'rm\t -fr\n/ ']), 'denied');
  t.is(decided('rm', ['-rf', '/tmp/x']), 'allowed');
  t.is(decided('farm', ['-r']), 'allowed');
  t.is(run(policies, { command: 'rm' }).decision, 'allowed', 'what is not known is not found');
});

test('a pattern that others choke on costs no more than any', (t) => {
  const policies = [allow('all'), allow('bad', { effect: 'forbid', lines: ['(x+x+)+y'] })];
  const object = { command: 'echo', args: ['x'.repeat(60_000)], hosts: [] };
  t.is(run(policies, object).decision, 'allowed');
});
