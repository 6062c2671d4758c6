/** What a policy is made of; what it means is in `policy.ts`. */
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { MAX_PATTERN_LENGTH } from '../../core/base/pattern-length.ts';
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
