// What waits for somebody's agreement, as it is kept. Nothing of what was asked changes once it is written, so that its
// id stands for exactly that: the approver who gives an id gives what was shown under it.
import { createHash } from 'node:crypto';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { KeyId, PrincipalName } from './api-key.ts';
import { canonical } from './audit-record.ts';
import { CallTarget, digestOfTargets } from './call-record.ts';

/** Bounds of what waits. */
export const approvalLimits = {
  /** Of one principal, those denied and not yet expired among them. */
  each: 50,
  /** Of one principal, as JSON. */
  eachBytes: 8 * 1024 * 1024,
  /** Of all together. */
  all: 1_000,
  allBytes: 64 * 1024 * 1024,
  defaultTtlMs: 3_600_000,
} as const;

const ID = '^[0-9a-f]{16}$';
export const ApprovalId = Type.String({ pattern: ID });

export function isApprovalId(text: unknown): text is string {
  return typeof text === 'string' && new RegExp(ID).test(text);
}

/** What one policy wants agreed: one of each list, different people. */
export const Need = Type.Object({
  policy: Type.String(),
  approvers: Type.Array(Type.Array(Type.String())),
  ttlMs: Type.Integer(),
});

/** Who said something about it, when (cell time, ms), and with which key; without one the operator. */
const Word = Type.Object({
  principal: Type.String(),
  key: Type.Optional(KeyId),
  at: Type.Integer(),
});

/** Why somebody denies it: one line, for people. */
export const DenialReason = Type.String({
  minLength: 1,
  maxLength: 500,
  // Nothing that could pass for another line, or turn one around.
  pattern: '^[^\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]*$',
});

export const ApprovalRecord = Type.Object({
  id: ApprovalId,
  verb: Type.String(),
  principal: PrincipalName,
  /** The key that it was asked for with. */
  key: Type.Optional(KeyId),
  source: Type.String(),
  /** As the caller sent it. */
  input: Type.Unknown(),
  command: Type.Optional(Type.String()),
  args: Type.Optional(Type.Array(Type.String())),
  /** All of them, as they were when it was asked. */
  hosts: Type.Optional(Type.Array(CallTarget)),
  /** What would change, where that is known beforehand: a policy as it is and as it would be. */
  plan: Type.Optional(Type.Unknown()),
  digest: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  /** Who else was given a secret of the key. */
  owners: Type.Array(Type.String()),
  needs: Type.Array(Need),
  agreed: Type.Array(Word),
  denied: Type.Optional(Type.Object({ ...Word.properties, reason: Type.Optional(DenialReason) })),
  /** Cell time, ms. */
  created: Type.Integer(),
  expires: Type.Integer(),
});

export type Need = Static<typeof Need>;
export type ApprovalRecord = Static<typeof ApprovalRecord>;

/** A request as an approval is bound to it. */
export type Asked = Pick<
  ApprovalRecord,
  'verb' | 'principal' | 'key' | 'input' | 'command' | 'args' | 'hosts' | 'plan'
>;

/** SHA-256 over all that was asked; ERR_REQUEST for what has no canonical text. */
export function digestOf(asked: Asked): string {
  const { verb, principal, key, input, command, args, hosts, plan } = asked;
  const peers = hosts === undefined ? undefined : digestOfTargets(hosts);
  const text = canonical({ verb, principal, key, input, command, args, hosts: peers, plan });
  return createHash('sha256').update(text).digest('hex');
}
