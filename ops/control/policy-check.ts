import { CodedError } from '../../core/base/error.ts';
import { patternProblem } from '../../core/base/linear-pattern.ts';
import { openLists } from './approval-quorum.ts';
import { canBeApproved } from './policy-decision.ts';
import { fits } from './policy.ts';
import type { PolicyRule } from './policy-rule.ts';
import { operator } from './principal.ts';
import { verbs } from './verbs.ts';
import type { Verb } from './verbs.ts';

/** Throws ERR_REQUEST naming the field of a rule that could never do what it seems to. */
export function checkRule(rule: PolicyRule): void {
  checkVerbs(rule);
  checkEffect(rule);
  checkApprovers(rule);
  const { principals, commands, hosts, lines = [] } = rule;
  for (const [at, pattern] of lines.entries()) checkPattern(`lines/${at}`, pattern);
  const own = principals.indexOf(operator.name);
  if (own >= 0) throw wrong(`principals/${own}`, 'no policy is about the operator');
  const named = rule.verbs.flatMap(verbsOf);
  const isAboutHosts = named.some((verb) => verb.runsOnHosts || verb.isAboutHosts === true);
  if (hosts !== undefined && !isAboutHosts) {
    throw wrong('hosts', 'none of the verbs is about hosts');
  }
  if (named.some(({ runsOnHosts }) => runsOnHosts)) return;
  if (commands !== undefined) throw wrong('commands', 'none of the verbs runs a command');
  if (lines.length > 0) throw wrong('lines', 'none of the verbs runs a command');
}

function checkVerbs({ effect, verbs: patterns }: PolicyRule): void {
  for (const [at, pattern] of patterns.entries()) {
    const named = verbsOf(pattern);
    if (named.length === 0) throw wrong(`verbs/${at}`, `there is no verb ${pattern}`);
    if (effect === 'allow' && named.every(({ isForNamed }) => isForNamed === true)) {
      throw wrong(`verbs/${at}`, 'is for those whom a request names; no policy gives it to others');
    }
    if (effect === 'approve' && !named.some(canBeApproved)) {
      throw wrong(`verbs/${at}`, 'is nothing that is agreed to before');
    }
  }
}

function checkEffect({ effect, maxRisk, lines = [], approvers, ttlMs }: PolicyRule): void {
  if (effect !== 'allow' && maxRisk !== undefined) {
    throw wrong('maxRisk', `is for an allow; ${effect} is of any risk`);
  }
  if (effect === 'allow' && lines.length > 0) {
    throw wrong('lines', 'is for a forbid; who may run a command may run it with any arguments');
  }
  if (effect === 'approve') return;
  if (approvers !== undefined) throw wrong('approvers', 'is for an approve');
  if (ttlMs !== undefined) throw wrong('ttlMs', 'is for an approve');
}

function checkApprovers({ effect, approvers }: PolicyRule): void {
  if (effect !== 'approve') return;
  if (approvers === undefined) throw wrong('approvers', 'says who must agree; an approve needs it');
  const [open] = openLists(approvers, new Set(approvers.flat()));
  if (open === undefined) return;
  const text = `there are not enough different people: nobody is left for ${open.join(', ')}`;
  throw wrong('approvers', text);
}

function verbsOf(pattern: string): Verb[] {
  return Object.values<Verb>(verbs).filter(({ permission }) => fits(pattern, permission));
}

function checkPattern(path: string, pattern: string): void {
  const problem = patternProblem(pattern);
  if (problem !== undefined) throw wrong(path, problem);
}

function wrong(path: string, text: string): CodedError {
  return new CodedError('ERR_REQUEST', `${path}: ${text}`, { detail: { path } });
}
