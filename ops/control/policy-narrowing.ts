import { approvalLimits } from './approval-record.ts';
import { risks } from './policy-rule.ts';
import { fits } from './policy.ts';
import type { PolicyRule } from './policy-rule.ts';

/**
 * True when it is proven that with `next` in the place of `former` nothing may be done that could not be done before,
 * nor with fewer who agree; undefined: no policy. It looks at the two alone, field by field, and what it cannot see to
 * be so it takes for wider: that one who is named twice is the same, or that two patterns together are as one.
 */
export function isNarrower(former: PolicyRule | undefined, next: PolicyRule | undefined): boolean {
  if (former === undefined) return next?.effect !== 'allow';
  if (next === undefined) return former.effect === 'allow';
  if (former.effect === 'allow') return next.effect !== 'allow' || isWithin(next, former);
  // From here on the former one stands in somebody's way: the next must stand wherever it does.
  if (next.effect === 'allow' || !isWithin(former, next)) return false;
  if (next.effect === 'forbid') return true;
  return former.effect === 'approve' && isAsStrict(next, former);
}

/** True when everything that `rule` is about is something that `other` is about. */
function isWithin(rule: PolicyRule, other: PolicyRule): boolean {
  return (
    areWithin(rule.principals, other.principals) &&
    areWithin(rule.verbs, other.verbs) &&
    areWithin(rule.commands, other.commands) &&
    areWithin(rule.hosts, other.hosts) &&
    isSubset(rule.lines, other.lines) &&
    riskOf(rule) <= riskOf(other)
  );
}

/** True when each pattern is within one of the others; absent: everything. */
function areWithin(
  patterns: readonly string[] | undefined,
  others: readonly string[] | undefined,
): boolean {
  if (others === undefined) return true;
  // A star in `pattern` is met by a star of `other` only, which then meets whatever it stands for.
  return patterns?.every((pattern) => others.some((other) => fits(other, pattern))) ?? false;
}

/** Patterns of RE2 are not compared with one another. */
function isSubset(
  patterns: readonly string[] | undefined,
  others: readonly string[] | undefined,
): boolean {
  if (others === undefined) return true;
  return patterns?.every((pattern) => others.includes(pattern)) ?? false;
}

function riskOf({ maxRisk = 'danger' }: PolicyRule): number {
  return risks.indexOf(maxRisk);
}

/** True when whoever is enough for `next` is enough for `former`: list by list, and more lists after them. */
function isAsStrict(next: PolicyRule, former: PolicyRule): boolean {
  const { defaultTtlMs } = approvalLimits;
  const lists = next.approvers ?? [];
  return (
    (next.ttlMs ?? defaultTtlMs) <= (former.ttlMs ?? defaultTtlMs) &&
    (former.approvers ?? []).every(
      (names, at) => lists[at]?.every((name) => names.includes(name)) ?? false,
    )
  );
}
