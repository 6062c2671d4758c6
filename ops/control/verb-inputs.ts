/** What verbs are asked with, where that is no record of its own. */
import { Type } from 'typebox';
import { pageLimits } from '../../core/base/paging.ts';
import { peerIdPattern } from '../../core/identity/peer-id.ts';
import { KeyId, keyLimits, PrincipalName } from './api-key.ts';
import { ApprovalId, DenialReason } from './approval-record.ts';
import { PrincipalCaps } from './caps.ts';
import { expressionLimits } from './expression-tokens.ts';
import { LabelChange } from './host-labels.ts';
import { BlobDigest, BlobLength, PackageName } from './package-record.ts';
import { PolicyName, PolicyRule } from './policy-rule.ts';
import { queryLimits } from './query-host.ts';
import { ReleaseId } from './release-record.ts';

const limit = Type.Optional(Type.Integer({ minimum: 1, maximum: pageLimits.max }));
const after = Type.Optional(Type.String({ maxLength: 128 }));
const on = Type.String({ minLength: 1, maxLength: 8_192 });

/** A part of a list: what comes after an entry. */
export const List = Type.Object({ limit, after });
/** All of it. */
export const Nothing = Type.Object({});

const Ttl = Type.Integer({ minimum: keyLimits.minTtlMs, maximum: keyLimits.maxTtlMs });
export const KeyCreate = Type.Object({
  principal: PrincipalName,
  ttlMs: Type.Optional(Ttl),
  /** Of the principal, with all its keys; absent: as they are. */
  caps: Type.Optional(PrincipalCaps),
});
export const KeyRotate = Type.Object({
  id: KeyId,
  /** How long former secrets still hold. */
  overlapMs: Type.Optional(Type.Integer({ minimum: 0, maximum: keyLimits.maxOverlapMs })),
});
export const KeyLock = Type.Object({ id: KeyId });

export const PolicyPut = Type.Object({ name: PolicyName, policy: PolicyRule });
export const PolicyRemove = Type.Object({ name: PolicyName });

export const OneApproval = Type.Object({ id: ApprovalId });
export const DenyApproval = Type.Object({ id: ApprovalId, reason: Type.Optional(DenialReason) });

export const AuditList = Type.Object({
  order: Type.Optional(Type.Enum(['oldest', 'newest'])),
  after: Type.Optional(Type.Integer({ minimum: 0 })),
  limit,
  kind: Type.Optional(Type.String({ maxLength: 128 })),
  principal: Type.Optional(Type.String({ maxLength: 256 })),
});

/** `exported`: the head that verifying an export prints; nothing after it is pruned. */
export const AuditPrune = Type.Object({
  before: Type.Integer({ minimum: 0 }),
  exported: Type.Object({
    seq: Type.Integer({ minimum: 1 }),
    hash: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  }),
});

const CallId = Type.String({ pattern: '^[0-9a-z]{8,32}$' });
export const OneCall = Type.Object({ id: CallId });
/** The newest first. */
export const CallList = Type.Object({ limit, before: Type.Optional(CallId) });
/** With a part of its results. */
export const CallShow = Type.Object({ id: CallId, limit, after });

export const OneRelease = Type.Object({ id: ReleaseId });
/** The newest first. */
export const ReleaseList = Type.Object({
  // Where each stands is read with all its hosts.
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: pageLimits.default })),
  before: Type.Optional(ReleaseId),
});

export const BlobPut = Type.Object({ digest: BlobDigest, length: BlobLength });
/** `NAME/VERSION`. */
const afterVersion = Type.Optional(Type.String({ maxLength: 129 }));
export const PackageList = Type.Object({ limit, after: afterVersion });
export const PackageVersions = Type.Object({ name: PackageName, limit, after: afterVersion });

/** `on`: see `selectHosts`; absent: all. */
export const HostList = Type.Object({
  limit,
  after,
  on: Type.Optional(on),
  state: Type.Optional(Type.Enum(['active', 'retired'])),
});
export const HostShow = Type.Object({ peer: Type.String({ pattern: peerIdPattern.source }) });
/** `where`: see `parseExpression`; absent: every host. `on`: absent: all. */
export const HostQuery = Type.Object({
  where: Type.Optional(Type.String({ minLength: 1, maxLength: expressionLimits.length })),
  on: Type.Optional(on),
  /** Names of values that are told of each host; absent: those of `where`. */
  columns: Type.Optional(Type.Array(Type.String({ maxLength: 64 }), { minItems: 1, maxItems: 64 })),
  /** How long a host may take to answer. */
  timeoutMs: Type.Optional(Type.Integer({ minimum: 1, maximum: queryLimits.maxTimeoutMs })),
});
export const HostLabel = Type.Object({ on, ...LabelChange.properties });
/** A host name or a peer id. */
export const HostRetire = Type.Object({ host: Type.String({ minLength: 1, maxLength: 255 }) });
