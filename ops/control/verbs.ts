/** Everything that can be asked of the ops plane. What is not here is denied to everybody. */
import { Type } from 'typebox';
import type { Static, TSchema } from 'typebox';
import { pageLimits } from '../../core/base/paging.ts';
import type { Lane } from '../../core/identity/call-order.ts';
import { KeyId, keyLimits, PrincipalName } from './api-key.ts';
import { ApprovalId } from './approval-record.ts';
import { CallRequest } from './call-record.ts';
import { PrincipalCaps } from './caps.ts';
import { LabelChange } from './host-labels.ts';
import { BlobDigest, BlobLength, PackagePublish } from './package-record.ts';
import { PolicyName, PolicyRule } from './policy-rule.ts';
import type { Risk } from './policy-rule.ts';
import { ReleaseAsk, ReleaseControl } from './release-record.ts';

/** One thing that can be asked. */
export interface Verb {
  /** What policies name to allow or forbid it. */
  readonly permission: string;
  /** Reads leave no trace when they are allowed; all else is written to the audit before it counts. */
  readonly risk: Risk;
  /** The kind of its records in the audit. */
  readonly audit: string;
  readonly lane: Lane;
  /** Unknown fields are refused. */
  readonly schema: TSchema;
  /** True: it names a command and hosts, which policies look at and caps count. */
  readonly runsOnHosts: boolean;
  /** True: it names hosts, which policies look at; no command, and no caps. */
  readonly isAboutHosts?: boolean;
  /** True: it is for those whom the thing itself names: no policy allows it, and any may forbid it. */
  readonly isForNamed?: boolean;
  /** True: making its effect costs nothing, and the effect says whether it narrows what is allowed. */
  readonly mayNarrow?: boolean;
}

const CallId = Type.String({ pattern: '^[0-9a-z]{8,32}$' });
/** A part of a list: what comes after an entry, or, where the newest comes first, before one. */
const List = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: pageLimits.max })),
  after: Type.Optional(Type.String({ maxLength: 128 })),
  before: Type.Optional(Type.String({ maxLength: 128 })),
});

const Ttl = Type.Integer({ minimum: keyLimits.minTtlMs, maximum: keyLimits.maxTtlMs });
const KeyCreate = Type.Object({
  principal: PrincipalName,
  ttlMs: Type.Optional(Ttl),
  /** Of the principal, with all its keys; absent: as they are. */
  caps: Type.Optional(PrincipalCaps),
});
const KeyRotate = Type.Object({
  id: KeyId,
  /** How long former secrets still hold. */
  overlapMs: Type.Optional(Type.Integer({ minimum: 0, maximum: keyLimits.maxOverlapMs })),
});
const KeyLock = Type.Object({ id: KeyId });
const PolicyPut = Type.Object({ name: PolicyName, policy: PolicyRule });
const PolicyRemove = Type.Object({ name: PolicyName });
const ApprovalWord = Type.Object({ id: ApprovalId });
/** Nothing of it for an export, which is all of them. */
const AuditList = Type.Object({
  order: Type.Optional(Type.Enum(['oldest', 'newest'])),
  after: Type.Optional(Type.Integer({ minimum: 0 })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: pageLimits.max })),
  kind: Type.Optional(Type.String({ maxLength: 128 })),
  principal: Type.Optional(Type.String({ maxLength: 256 })),
});
const CallCancel = Type.Object({ id: CallId });
/** `after` is `NAME/VERSION`. */
const PackageList = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: pageLimits.max })),
  after: Type.Optional(Type.String({ maxLength: 129 })),
});
const BlobPut = Type.Object({ digest: BlobDigest, length: BlobLength });

/** `on`: see `selectHosts`; absent: all. */
const HostList = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: pageLimits.max })),
  after: Type.Optional(Type.String({ maxLength: 128 })),
  on: Type.Optional(Type.String({ minLength: 1, maxLength: 8_192 })),
  state: Type.Optional(Type.Enum(['active', 'retired'])),
});
const HostLabel = Type.Object({
  on: Type.String({ minLength: 1, maxLength: 8_192 }),
  ...LabelChange.properties,
});
/** A host name or a peer id. */
const HostRetire = Type.Object({ host: Type.String({ minLength: 1, maxLength: 255 }) });

const cell = { lane: 'fast', runsOnHosts: false } as const;

export const verbs = {
  'key.create': {
    ...cell,
    permission: 'key.create',
    risk: 'danger',
    audit: 'key.create',
    schema: KeyCreate,
  },
  'key.rotate': {
    ...cell,
    permission: 'key.rotate',
    risk: 'danger',
    audit: 'key.rotate',
    schema: KeyRotate,
  },
  'key.lock': {
    ...cell,
    permission: 'key.lock',
    risk: 'change',
    audit: 'key.lock',
    schema: KeyLock,
  },
  'key.list': { ...cell, permission: 'key.list', risk: 'read', audit: 'key.list', schema: List },
  'policy.put': {
    ...cell,
    permission: 'policy.put',
    risk: 'danger',
    mayNarrow: true,
    audit: 'policy.put',
    schema: PolicyPut,
  },
  'policy.remove': {
    ...cell,
    permission: 'policy.remove',
    risk: 'danger',
    mayNarrow: true,
    audit: 'policy.remove',
    schema: PolicyRemove,
  },
  'policy.list': {
    ...cell,
    permission: 'policy.list',
    risk: 'read',
    audit: 'policy.list',
    schema: List,
  },
  'approval.list': {
    ...cell,
    permission: 'approval.list',
    risk: 'read',
    isForNamed: true,
    audit: 'approval.list',
    schema: List,
  },
  'approval.give': {
    ...cell,
    permission: 'approval.give',
    risk: 'change',
    isForNamed: true,
    audit: 'approval.give',
    schema: ApprovalWord,
  },
  'approval.deny': {
    ...cell,
    permission: 'approval.deny',
    risk: 'change',
    isForNamed: true,
    audit: 'approval.deny',
    schema: ApprovalWord,
  },
  'call.run': {
    permission: 'call.run',
    risk: 'danger',
    audit: 'call.run',
    lane: 'slow',
    schema: CallRequest,
    runsOnHosts: true,
  },
  'call.cancel': {
    ...cell,
    permission: 'call.cancel',
    risk: 'change',
    audit: 'call.cancel',
    schema: CallCancel,
  },
  'call.list': {
    ...cell,
    permission: 'call.list',
    risk: 'read',
    audit: 'call.list',
    schema: List,
  },
  'blob.put': {
    ...cell,
    permission: 'blob.put',
    risk: 'change',
    audit: 'blob.put',
    schema: BlobPut,
  },
  'package.publish': {
    ...cell,
    permission: 'package.publish',
    risk: 'change',
    audit: 'package.publish',
    schema: PackagePublish,
  },
  'package.list': {
    ...cell,
    permission: 'package.list',
    risk: 'read',
    audit: 'package.list',
    schema: PackageList,
  },
  'release.start': {
    permission: 'release.start',
    risk: 'danger',
    audit: 'release.start',
    lane: 'slow',
    schema: ReleaseAsk,
    runsOnHosts: true,
  },
  'release.control': {
    ...cell,
    permission: 'release.control',
    risk: 'change',
    audit: 'release.control',
    schema: ReleaseControl,
  },
  'release.list': {
    ...cell,
    permission: 'release.list',
    risk: 'read',
    audit: 'release.list',
    schema: List,
  },
  'host.list': {
    ...cell,
    permission: 'host.list',
    risk: 'read',
    audit: 'host.list',
    schema: HostList,
  },
  'host.label': {
    ...cell,
    permission: 'host.label',
    risk: 'change',
    audit: 'host.label',
    schema: HostLabel,
    isAboutHosts: true,
  },
  'host.retire': {
    ...cell,
    permission: 'host.retire',
    risk: 'danger',
    audit: 'host.retire',
    schema: HostRetire,
    isAboutHosts: true,
  },
  'audit.list': {
    ...cell,
    permission: 'audit.list',
    risk: 'read',
    audit: 'audit.list',
    schema: AuditList,
  },
} as const satisfies Readonly<Record<string, Verb>>;

export type VerbName = keyof typeof verbs;
/** Verbs that change nothing. */
export type ReadVerb = {
  [Name in VerbName]: (typeof verbs)[Name]['risk'] extends 'read' ? Name : never;
}[VerbName];
/** Verbs that are written to the audit. */
export type ChangeVerb = Exclude<VerbName, ReadVerb>;
/** What a verb is asked with. */
export type VerbInput<Name extends VerbName> = Static<(typeof verbs)[Name]['schema']>;

export type KeyCreate = VerbInput<'key.create'>;
export type KeyRotate = VerbInput<'key.rotate'>;

/** The verb of this name; undefined for what is none, whatever it is. */
export function verbOf(name: string): Verb | undefined {
  return isVerb(name) ? verbs[name] : undefined;
}

function isVerb(name: string): name is VerbName {
  return Object.hasOwn(verbs, name);
}
