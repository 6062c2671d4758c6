import { Type } from 'typebox';
import type { Static } from 'typebox';
import { MAX_PATTERN_LENGTH, isAnyFound, lineOf } from '../../core/base/linear-pattern.ts';
import { PrincipalName } from './api-key.ts';

/** What a verb can do to hosts, the mildest first. */
export const risks = ['read', 'change', 'danger'] as const;
export type Risk = (typeof risks)[number];

export const PolicyName = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$' });

/** What somebody may do, or may not. Everything that it names must fit; within one list any word. */
export const PolicyRule = Type.Object({
  effect: Type.Enum(['allow', 'forbid', 'approve']),
  /** Names, or `*` for everybody but the operator. */
  principals: Type.Array(Type.Union([PrincipalName, Type.Literal('*')]), {
    minItems: 1,
    maxItems: 256,
  }),
  /** `call.run`, `call.*`, `*`. */
  verbs: Type.Array(Type.String({ pattern: '^(?:[a-z]+\\.(?:[a-z]+|\\*)|\\*)$' }), {
    minItems: 1,
    maxItems: 64,
  }),
  /** Names of commands; `*` stands for any characters. */
  commands: Type.Optional(
    Type.Array(Type.String({ pattern: '^[a-z0-9._*-]{1,64}$' }), { minItems: 1, maxItems: 256 }),
  ),
  /** `idc=NAME`, `host=NAME` or `peer=ID`; `*` stands for any characters. */
  hosts: Type.Optional(
    Type.Array(Type.String({ pattern: '^(?:idc|host|peer)=[^,=\\s]{1,255}$' }), {
      minItems: 1,
      maxItems: 256,
    }),
  ),
  /** Of a forbid or an approve: patterns of RE2, any of which is found in the command with its arguments (`lineOf`). */
  lines: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: MAX_PATTERN_LENGTH }), {
      minItems: 1,
      maxItems: 64,
    }),
  ),
  /** Of an allow: nothing riskier than this. */
  maxRisk: Type.Optional(Type.Enum([...risks])),
  /** Of an approve: one of each list must agree, all different people. */
  approvers: Type.Optional(
    Type.Array(Type.Array(PrincipalName, { minItems: 1, maxItems: 64 }), {
      minItems: 1,
      maxItems: 8,
    }),
  ),
  /** Of an approve: how long after it was asked something may be agreed to and done, ms; default one hour. */
  ttlMs: Type.Optional(Type.Integer({ minimum: 60_000, maximum: 7 * 86_400_000 })),
});
export type PolicyRule = Static<typeof PolicyRule>;

/** A rule and what it is called. */
export interface Policy extends PolicyRule {
  readonly name: string;
}

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
