/** What verbs answer, as far as `dfops` looks at it; later supernodes may say more. */
import { Type } from 'typebox';
import type { Static, TSchema } from 'typebox';
import { AuditRecordRow } from '../control/audit-record.ts';
import type { VerbName } from '../control/verbs.ts';
import { ApprovalDetail, ApprovalLine } from './approval-text.ts';
import { Begun, Call, CallDetail, CallEvent } from './call-api.ts';
import { QueryEvent } from './query-event.ts';
import { Preview, ReleaseDetail, ReleaseEvent, Repair, Summary } from './release-api.ts';

const Cap = Type.Optional(Type.Object({ max: Type.Number(), windowMs: Type.Number() }));
const Key = Type.Object({
  id: Type.String(),
  principal: Type.String(),
  created: Type.Number(),
  expires: Type.Number(),
  formerUntil: Type.Optional(Type.Number()),
  lastUsed: Type.Optional(Type.Number()),
  locked: Type.Optional(Type.Number()),
  caps: Type.Optional(Type.Object({ hosts: Cap, calls: Cap })),
});
const Issued = Type.Object({ ...Key.properties, key: Type.String() });
const Policy = Type.Object({
  name: Type.String(),
  effect: Type.String(),
  principals: Type.Array(Type.String()),
  verbs: Type.Array(Type.String()),
  commands: Type.Optional(Type.Array(Type.String())),
  hosts: Type.Optional(Type.Array(Type.String())),
  lines: Type.Optional(Type.Array(Type.String())),
  maxRisk: Type.Optional(Type.String()),
  approvers: Type.Optional(Type.Array(Type.Array(Type.String()))),
  ttlMs: Type.Optional(Type.Number()),
});
const Host = Type.Object({
  peer: Type.String(),
  hostname: Type.Optional(Type.String()),
  idc: Type.Optional(Type.String()),
  location: Type.Optional(Type.String()),
  role: Type.String(),
  state: Type.String(),
  isConnected: Type.Boolean(),
  firstSeen: Type.Number(),
  lastSeen: Type.Number(),
  labels: Type.Record(Type.String(), Type.String()),
  facts: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()])),
  retired: Type.Optional(Type.Object({ at: Type.Number(), by: Type.String() })),
});
const Package = Type.Object({
  name: Type.String(),
  version: Type.String(),
  digest: Type.String(),
  length: Type.Number(),
  url: Type.String(),
  publishedBy: Type.String(),
  at: Type.Number(),
});
const Removed = Type.Object({ ...Package.properties, isFreed: Type.Boolean() });
const Blob = Type.Object({ digest: Type.String(), length: Type.Number(), url: Type.String() });

export const answers = {
  'key.create': Issued,
  'key.rotate': Issued,
  'key.lock': Key,
  'key.list': pageOf(Key),
  'policy.put': Policy,
  'policy.list': pageOf(Policy),
  'approval.list': pageOf(ApprovalLine),
  'approval.show': ApprovalDetail,
  'approval.give': ApprovalDetail,
  'approval.deny': ApprovalDetail,
  'call.run': Begun,
  'call.list': pageOf(Call),
  'call.show': CallDetail,
  /** Each line. */
  'call.follow': CallEvent,
  'blob.put': Blob,
  'package.publish': Package,
  'package.remove': Removed,
  'package.list': pageOf(Package),
  'package.versions': pageOf(Package),
  'release.preview': Preview,
  'release.start': Summary,
  'release.control': Summary,
  'release.repairs': Repair,
  'release.repair': Repair,
  'release.list': pageOf(Summary),
  'release.show': ReleaseDetail,
  /** Each line. */
  'release.follow': ReleaseEvent,
  'host.list': pageOf(Host),
  'host.show': Host,
  /** Each line. */
  'host.query': QueryEvent,
  'host.label': Type.Object({ hosts: Type.Number(), changed: Type.Number() }),
  'host.retire': Host,
  'audit.list': Type.Object({
    records: Type.Array(AuditRecordRow),
    next: Type.Optional(Type.Integer()),
  }),
  'audit.prune': Type.Object({
    through: Type.Object({ seq: Type.Integer(), hash: Type.String() }),
    records: Type.Integer(),
  }),
} as const satisfies { readonly [Name in VerbName]?: TSchema };

/** What a verb answers; what is not in the table is nothing, or no JSON. */
export type VerbAnswer<Name extends VerbName> = Name extends keyof typeof answers
  ? Static<(typeof answers)[Name]>
  : unknown;

function pageOf<const Item extends TSchema>(item: Item) {
  return Type.Object({ items: Type.Array(item), next: Type.Optional(Type.String()) });
}
