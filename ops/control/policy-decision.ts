import { approvalLimits } from './approval-record.ts';
import type { Need } from './approval-record.ts';
import { allows, forbids, wantsApproval } from './policy.ts';
import type { Policy, Risk } from './policy-rule.ts';
import type { PolicyHost, Wish } from './policy.ts';
import { verbOf } from './verbs.ts';
import type { Verb } from './verbs.ts';

/** What a verb is asked of. */
export interface DecidedObject {
  readonly command?: string | undefined;
  readonly args?: readonly string[] | undefined;
  readonly hosts?: readonly PolicyHost[] | undefined;
  /** Of the command, where it is known to be milder or worse than the verb. */
  readonly risk?: Risk | undefined;
  /** True: it names itself who may do this, and he who asks is named. */
  readonly isNamed?: boolean | undefined;
}

export interface Decision {
  readonly decision: 'allowed' | 'denied';
  /** Which policy says so; absent: none allows it. */
  readonly policy?: string;
  /** Who must agree before, by the names of policies; absent: nobody. */
  readonly needs?: readonly Need[];
}

/**
 * Whether a principal may: some forbid that is about any part of it denies; else one allow must cover all of it, and
 * what two allows each cover half of is denied, as is everything that no policy speaks of and every unknown verb. Each
 * approve that is about any part of it must be met besides. What is for those whom it names needs no allow.
 */
export function decide(
  policies: Iterable<Policy>,
  request: { readonly principal: string; readonly verb: string; readonly object?: DecidedObject },
): Decision {
  const verb = verbOf(request.verb);
  if (verb === undefined) return { decision: 'denied' };
  const { risk = verb.risk, isNamed = false, ...object } = request.object ?? {};
  const { permission } = verb;
  const wish: Wish = { ...object, principal: request.principal, permission, risk };
  const needs: Need[] = [];
  let allowed: string | undefined;
  for (const policy of policies) {
    if (forbids(policy, wish)) return { decision: 'denied', policy: policy.name };
    if (allowed === undefined && allows(policy, wish)) allowed = policy.name;
    if (canBeApproved(verb) && wantsApproval(policy, wish)) needs.push(needOf(policy));
  }
  if (verb.isForNamed === true) return { decision: isNamed ? 'allowed' : 'denied' };
  if (allowed === undefined) return { decision: 'denied' };
  if (needs.length === 0) return { decision: 'allowed', policy: allowed };
  const byName = needs.toSorted((one, other) => (one.policy < other.policy ? -1 : 1));
  return { decision: 'allowed', policy: allowed, needs: byName };
}

/** True for what somebody can have to agree to before: not what only looks, nor agreeing itself. */
export function canBeApproved({ risk, isForNamed = false }: Verb): boolean {
  return risk !== 'read' && !isForNamed;
}

function needOf({ name, approvers = [], ttlMs = approvalLimits.defaultTtlMs }: Policy): Need {
  return { policy: name, approvers, ttlMs };
}

/** What can be said before it is known what somebody means: which hosts, or what was begun on them. */
export interface Outlook extends Decision {
  /** True when it is allowed whatever that is, as far as no policy forbids a part of it. */
  readonly isOnAny: boolean;
}

/** Whether there could be something that a principal may. Denied: there is nothing, whatever he names. */
export function foresee(
  policies: Iterable<Policy>,
  request: {
    readonly principal: string;
    readonly verb: string;
    readonly object: DecidedObject;
  },
): Outlook {
  const verb = verbOf(request.verb);
  if (verb === undefined) return { decision: 'denied', isOnAny: false };
  const { risk = verb.risk, hosts: _hosts, ...named } = request.object;
  const { permission, isOfBegun = false } = verb;
  const object = isOfBegun ? { ...named, command: undefined } : named;
  const wish: Wish = { ...object, principal: request.principal, permission, risk };
  let allowed: string | undefined;
  let isOnAny = false;
  for (const policy of policies) {
    const { hosts, commands, ...rest } = policy;
    const anywhere = isOfBegun || commands === undefined ? rest : { ...rest, commands };
    if (hosts === undefined && forbids(policy, wish)) {
      return { decision: 'denied', policy: policy.name, isOnAny: false };
    }
    if (!allows(anywhere, wish)) continue;
    allowed ??= policy.name;
    isOnAny ||= hosts === undefined && (!isOfBegun || commands === undefined);
  }
  if (allowed === undefined) return { decision: 'denied', isOnAny };
  return { decision: 'allowed', policy: allowed, isOnAny };
}
