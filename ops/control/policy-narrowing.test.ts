import test from 'ava';
import * as fc from 'fast-check';
import { openLists } from './approval-quorum.ts';
import { decide } from './policy-decision.ts';
import { isNarrower } from './policy-narrowing.ts';
import { PolicyRule, risks } from './policy-rule.ts';

const allow: PolicyRule = { effect: 'allow', principals: ['ann', 'bob'], verbs: ['call.*'] };
const forbid: PolicyRule = { ...allow, effect: 'forbid' };
const approve: PolicyRule = { ...allow, effect: 'approve', approvers: [['eve', 'sue']] };

test('isNarrower() sees what takes something away, and takes the rest for wider', (t) => {
  const cases: [boolean, PolicyRule | undefined, PolicyRule | undefined][] = [
    [true, undefined, forbid],
    [true, undefined, approve],
    [false, undefined, allow],
    [true, allow, undefined],
    [false, forbid, undefined],
    [false, approve, undefined],
    [true, allow, allow],
    [true, allow, forbid],
    [true, allow, { ...allow, principals: ['ann'], verbs: ['call.run'] }],
    [true, allow, { ...allow, commands: ['uptime'], hosts: ['idc=a'], maxRisk: 'read' }],
    [false, allow, { ...allow, principals: ['*'] }],
    [false, allow, { ...allow, verbs: ['call.run', 'key.list'] }],
    [true, { ...allow, hosts: ['host=web-*'] }, { ...allow, hosts: ['host=web-1*', 'host=web-x'] }],
    [false, { ...allow, hosts: ['host=web-*'] }, { ...allow, hosts: ['host=web*'] }],
    [false, { ...allow, hosts: ['host=web-*'] }, { ...allow, hosts: ['idc=web-1'] }],
    [false, { ...allow, hosts: ['host=web-*'] }, allow],
    [false, { ...allow, maxRisk: 'change' }, allow],
    [true, forbid, { ...forbid, principals: ['*'], verbs: ['*'] }],
    [false, forbid, { ...forbid, principals: ['ann'] }],
    [false, forbid, { ...forbid, hosts: ['idc=a'] }],
    [true, { ...forbid, lines: ['rm'] }, { ...forbid, lines: ['rm', 'dd'] }],
    [false, { ...forbid, lines: ['rm'] }, { ...forbid, lines: ['dd'] }],
    [false, forbid, approve],
    [false, forbid, allow],
    [false, approve, allow],
    [true, approve, forbid],
    [true, approve, { ...approve, approvers: [['eve'], ['tom']] }],
    [true, approve, { ...approve, ttlMs: 60_000 }],
    [false, approve, { ...approve, ttlMs: 7_200_000 }],
    [false, approve, { ...approve, approvers: [['eve', 'tom']] }],
    [false, { ...approve, approvers: [['eve'], ['tom']] }, approve],
    [false, approve, { ...approve, hosts: ['idc=a'] }],
  ];
  for (const [at, [expected, former, next]] of cases.entries()) {
    t.is(isNarrower(former, next), expected, `case ${at}`);
  }
});

const people = ['eve', 'sue', 'tom'];
const some = (...words: string[]) =>
  fc.uniqueArray(fc.constantFrom(...words), { minLength: 1, maxLength: 2 });
const fields = fc.record(
  {
    principals: some('ann', 'bob', '*'),
    verbs: some('call.run', 'call.*', 'key.create', '*'),
    commands: some('uptime', 'up*', 'u*e', 'rm', '*'),
    hosts: some('idc=a', 'idc=*', 'host=web*', 'host=web1', 'peer=p1'),
    lines: some('-rf', '^up'),
  },
  { requiredKeys: ['principals', 'verbs'] },
);
const policy = fc.oneof(
  fc
    .record({ fields, maxRisk: fc.option(fc.constantFrom(...risks), { nil: undefined }) })
    .map(({ fields: { lines: _lines, ...rest }, maxRisk }): PolicyRule => ({
      ...rest,
      effect: 'allow',
      ...(maxRisk === undefined ? {} : { maxRisk }),
    })),
  fields.map((rest): PolicyRule => ({ ...rest, effect: 'forbid' })),
  fc
    .record({
      fields,
      approvers: fc.array(some(...people), { minLength: 1, maxLength: 2 }),
      ttlMs: fc.constantFrom(60_000, 3_600_000),
    })
    .map(({ fields: rest, ...more }): PolicyRule => ({ ...rest, ...more, effect: 'approve' })),
);
const wish = fc.record({
  principal: fc.constantFrom('ann', 'bob', 'zoe'),
  verb: fc.constantFrom('call.run', 'call.list', 'key.create', 'policy.put'),
  object: fc.record({
    command: fc.constantFrom(undefined, 'uptime', 'update', 'rm'),
    args: fc.constantFrom(['-rf'], []),
    hosts: fc.array(
      fc.constantFrom(
        { peer: 'p1', idc: 'a', hostname: 'web1' },
        { peer: 'p2', idc: 'a' },
        { peer: 'p3', idc: 'b', hostname: 'web2' },
      ),
      { maxLength: 2 },
    ),
  }),
});

/** Whether a wish is done when just these agree. */
function isDone(
  rules: readonly PolicyRule[],
  asked: Parameters<typeof decide>[1],
  agreed: readonly string[],
): boolean {
  const policies = rules.map((rule, at) => ({ ...rule, name: `p${at}` }));
  const { decision, needs = [] } = decide(policies, asked);
  return (
    decision === 'allowed' &&
    needs.every(({ approvers }) => openLists(approvers, new Set(agreed)).length === 0)
  );
}

test('what isNarrower() calls so never lets be done what was not, whoever agrees', (t) => {
  let narrower = 0;
  let undone = 0;
  const change = fc.record({
    former: fc.option(policy, { nil: undefined }),
    next: fc.option(policy, { nil: undefined }),
    /** Fields of the next that are those of the former, so that narrower ones are not rare. */
    kept: fc.subarray(Object.keys(PolicyRule.properties)),
  });
  const others = fc.array(policy, { maxLength: 3 });
  const request = fc.record({ asked: wish, names: fc.subarray(people) });
  fc.assert(
    fc.property(change, others, request, ({ former, next, kept }, rest, { asked, names }) => {
      const mixed =
        former === undefined || next === undefined || former.effect !== next.effect
          ? next
          : {
              ...next,
              ...Object.fromEntries(
                Object.entries(former).filter(([field]) => kept.includes(field)),
              ),
            };
      if (!isNarrower(former, mixed)) return true;
      narrower += 1;
      const before = isDone(former === undefined ? rest : [...rest, former], asked, names);
      const after = isDone(mixed === undefined ? rest : [...rest, mixed], asked, names);
      if (before && !after) undone += 1;
      return before || !after;
    }),
    { numRuns: 5_000 },
  );
  t.log({ narrower, undone });
  t.true(narrower > 500, 'there is something to see');
  t.true(undone > 10, 'and some of it made a difference');
});
