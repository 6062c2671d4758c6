import { isAnyFound, lineOf } from '../../core/base/linear-pattern.ts';
import { risks } from './policy-rule.ts';
import type { PolicyRule, Risk } from './policy-rule.ts';

/** A host as policies know it. The name is what the host says of itself; idc and peer are what the cell has signed. */
export interface PolicyHost {
  readonly peer: string;
  readonly hostname?: string | undefined;
  readonly idc?: string | undefined;
}

/** What somebody wishes to do. */
export interface Wish {
  readonly principal: string;
  readonly permission: string;
  readonly risk: Risk;
  readonly command?: string | undefined;
  readonly args?: readonly string[] | undefined;
  /** All of them, frozen. */
  readonly hosts?: readonly PolicyHost[] | undefined;
}

/** True when an allow covers all of a wish. What it names and the wish has not got is not covered. */
export function allows(rule: PolicyRule, wish: Wish): boolean {
  const { commands, hosts, maxRisk } = rule;
  if (rule.effect !== 'allow' || !isAbout(rule, wish)) return false;
  if (maxRisk !== undefined && risks.indexOf(wish.risk) > risks.indexOf(maxRisk)) return false;
  if (commands !== undefined && !commands.some((pattern) => fits(pattern, wish.command))) {
    return false;
  }
  if (hosts === undefined) return true;
  const wished = wish.hosts ?? [];
  return wished.length > 0 && wished.every((host) => isOneOf(host, hosts));
}

/** True when a forbid is about any part of a wish: one host of many is enough. */
export function forbids(rule: PolicyRule, wish: Wish): boolean {
  return rule.effect === 'forbid' && isAboutPart(rule, wish);
}

/** True when an approve is about any part of a wish. */
export function wantsApproval(rule: PolicyRule, wish: Wish): boolean {
  return rule.effect === 'approve' && isAboutPart(rule, wish);
}

function isAboutPart(rule: PolicyRule, wish: Wish): boolean {
  const { commands, hosts, lines } = rule;
  if (!isAbout(rule, wish)) return false;
  if (commands !== undefined && !commands.some((pattern) => fits(pattern, wish.command))) {
    return false;
  }
  if (lines !== undefined && !isFoundIn(wish, lines)) return false;
  return hosts === undefined || (wish.hosts ?? []).some((host) => isOneOf(host, hosts));
}

/** True when it names the principal and the verb. */
function isAbout({ principals, verbs }: PolicyRule, { principal, permission }: Wish): boolean {
  return (
    principals.some((name) => name === '*' || name === principal) &&
    verbs.some((pattern) => fits(pattern, permission))
  );
}

function isFoundIn({ command, args }: Wish, patterns: readonly string[]): boolean {
  if (command === undefined || args === undefined) return false;
  return isAnyFound(patterns, lineOf(command, args));
}

function isOneOf({ peer, hostname, idc }: PolicyHost, selectors: readonly string[]): boolean {
  const values: Readonly<Record<string, string | undefined>> = { peer, host: hostname, idc };
  return selectors.some((selector) => {
    const at = selector.indexOf('=');
    return fits(selector.slice(at + 1), values[selector.slice(0, at)]);
  });
}

/**
 * True when `text` is `pattern`, in which each `*` stands for any characters. The parts between are looked for from
 * left to right, so that the time grows with pattern times text and no pattern is expensive.
 */
export function fits(pattern: string, text: string | undefined): boolean {
  if (text === undefined) return false;
  const [head = '', ...rest] = pattern.split('*');
  const tail = rest.pop();
  if (tail === undefined) return text === head;
  if (text.length < head.length + tail.length) return false;
  if (!text.startsWith(head) || !text.endsWith(tail)) return false;
  const end = text.length - tail.length;
  let at = head.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}
