/**
 * Everything that can be asked of the ops plane. What is not here is denied to everybody. The routes of the HTTP API
 * (`VerbRoutes`) and what `dfops` sends (`ApiClient`) are made from it; nothing of the server is drawn in.
 */
import type { Static, TObject } from 'typebox';
import type { Lane } from '../../core/identity/call-order.ts';
import { CallRequest } from './call-record.ts';
import { PackagePublish, PackageVersionOf } from './package-record.ts';
import type { Risk } from './policy-rule.ts';
import {
  ReleaseControl,
  ReleaseRequest,
  ReleaseStart,
  RepairRequest,
  RepairStart,
} from './release-record.ts';
import * as inputs from './verb-inputs.ts';

/** One thing that can be asked. */
export interface Verb {
  /** What policies name to allow or forbid it: its own name, or that of the verb that it is a part of. */
  readonly permission: string;
  /** Reads leave no trace when they are allowed; all else is written to the audit before it counts. */
  readonly risk: Risk;
  /** The kind of its records in the audit. */
  readonly audit: string;
  readonly lane: Lane;
  /** Unknown fields are refused. */
  readonly schema: TObject;
  /**
   * Method and path. `:id` in the path is the field of that name; all other fields are the query of a GET or DELETE and
   * the body of a POST or PUT.
   */
  readonly at: `${'GET' | 'POST' | 'PUT' | 'DELETE'} /api/v1/${string}`;
  /** The one field that is the body. */
  readonly body?: string;
  /** The field that is the length of the body, which is bytes. */
  readonly content?: string;
  /** The field that is the id or the name of what it is about, where one says all of that. */
  readonly object?: string;
  /** True: it names a command and hosts, which policies look at and caps count. */
  readonly runsOnHosts: boolean;
  /** True: it names hosts, which policies look at; no command, and no caps. */
  readonly isAboutHosts?: boolean;
  /** True: it is about what was begun on hosts. Policies look at the command and hosts of that; who asks has its id. */
  readonly isOfBegun?: boolean;
  /** True: it is for those whom the thing itself names: no policy allows it, and any may forbid it. */
  readonly isForNamed?: boolean;
  /** True: making its effect costs nothing, and the effect says whether it narrows what is allowed. */
  readonly mayNarrow?: boolean;
}

const cell = { lane: 'fast', runsOnHosts: false } as const;

/** What all verbs have in common that change nothing and that policies know by this name. */
function looks<const Name extends string>(permission: Name) {
  return { ...cell, permission, risk: 'read', audit: permission } as const;
}

export const verbs = {
  'key.create': {
    ...cell,
    permission: 'key.create',
    risk: 'danger',
    audit: 'key.create',
    at: 'POST /api/v1/keys',
    object: 'principal',
    schema: inputs.KeyCreate,
  },
  'key.rotate': {
    ...cell,
    permission: 'key.rotate',
    risk: 'danger',
    audit: 'key.rotate',
    at: 'POST /api/v1/keys/:id/rotate',
    object: 'id',
    schema: inputs.KeyRotate,
  },
  'key.lock': {
    ...cell,
    permission: 'key.lock',
    risk: 'change',
    audit: 'key.lock',
    at: 'POST /api/v1/keys/:id/lock',
    object: 'id',
    schema: inputs.KeyLock,
  },
  'key.list': {
    ...looks('key.list'),
    at: 'GET /api/v1/keys',
    schema: inputs.List,
  },
  'policy.put': {
    ...cell,
    permission: 'policy.put',
    risk: 'danger',
    audit: 'policy.put',
    at: 'PUT /api/v1/policies/:name',
    object: 'name',
    body: 'policy',
    mayNarrow: true,
    schema: inputs.PolicyPut,
  },
  'policy.remove': {
    ...cell,
    permission: 'policy.remove',
    risk: 'danger',
    audit: 'policy.remove',
    at: 'DELETE /api/v1/policies/:name',
    object: 'name',
    mayNarrow: true,
    schema: inputs.PolicyRemove,
  },
  'policy.list': {
    ...looks('policy.list'),
    at: 'GET /api/v1/policies',
    schema: inputs.List,
  },
  'approval.list': {
    ...looks('approval.list'),
    at: 'GET /api/v1/approvals',
    isForNamed: true,
    schema: inputs.List,
  },
  'approval.show': {
    ...looks('approval.list'),
    at: 'GET /api/v1/approvals/:id',
    isForNamed: true,
    schema: inputs.OneApproval,
  },
  'approval.give': {
    ...cell,
    permission: 'approval.give',
    risk: 'change',
    audit: 'approval.give',
    at: 'POST /api/v1/approvals/:id/approve',
    isForNamed: true,
    schema: inputs.OneApproval,
  },
  'approval.deny': {
    ...cell,
    permission: 'approval.deny',
    risk: 'change',
    audit: 'approval.deny',
    at: 'POST /api/v1/approvals/:id/deny',
    isForNamed: true,
    schema: inputs.DenyApproval,
  },
  'call.run': {
    permission: 'call.run',
    risk: 'danger',
    audit: 'call.run',
    lane: 'slow',
    at: 'POST /api/v1/calls',
    schema: CallRequest,
    runsOnHosts: true,
  },
  'call.cancel': {
    ...cell,
    permission: 'call.cancel',
    risk: 'change',
    audit: 'call.cancel',
    at: 'DELETE /api/v1/calls/:id',
    isOfBegun: true,
    schema: inputs.OneCall,
  },
  'call.list': {
    ...looks('call.list'),
    at: 'GET /api/v1/calls',
    schema: inputs.CallList,
  },
  'call.show': {
    ...looks('call.list'),
    at: 'GET /api/v1/calls/:id',
    schema: inputs.CallShow,
  },
  'call.follow': {
    ...looks('call.list'),
    at: 'GET /api/v1/calls/:id/events',
    schema: inputs.OneCall,
  },
  'blob.put': {
    ...cell,
    permission: 'blob.put',
    risk: 'change',
    audit: 'blob.put',
    at: 'PUT /api/v1/blobs/:digest',
    content: 'length',
    schema: inputs.BlobPut,
  },
  'package.publish': {
    ...cell,
    permission: 'package.publish',
    risk: 'change',
    audit: 'package.publish',
    at: 'POST /api/v1/packages',
    schema: PackagePublish,
  },
  'package.remove': {
    ...cell,
    permission: 'package.remove',
    risk: 'change',
    audit: 'package.remove',
    at: 'DELETE /api/v1/packages/:name/:version',
    schema: PackageVersionOf,
  },
  'package.list': {
    ...looks('package.list'),
    at: 'GET /api/v1/packages',
    schema: inputs.PackageList,
  },
  'package.versions': {
    ...looks('package.list'),
    at: 'GET /api/v1/packages/:name',
    object: 'name',
    schema: inputs.PackageVersions,
  },
  'release.preview': {
    permission: 'release.start',
    risk: 'danger',
    audit: 'release.start',
    lane: 'slow',
    at: 'POST /api/v1/releases/preview',
    schema: ReleaseRequest,
    runsOnHosts: true,
  },
  'release.start': {
    permission: 'release.start',
    risk: 'danger',
    audit: 'release.start',
    lane: 'slow',
    at: 'POST /api/v1/releases',
    schema: ReleaseStart,
    runsOnHosts: true,
  },
  'release.control': {
    ...cell,
    permission: 'release.control',
    risk: 'change',
    audit: 'release.control',
    at: 'POST /api/v1/releases/:id/:wish',
    isOfBegun: true,
    schema: ReleaseControl,
  },
  'release.repairs': {
    permission: 'release.repair',
    risk: 'danger',
    audit: 'release.repair',
    lane: 'slow',
    at: 'POST /api/v1/releases/:id/repair/preview',
    schema: RepairRequest,
    runsOnHosts: true,
  },
  'release.repair': {
    permission: 'release.repair',
    risk: 'danger',
    audit: 'release.repair',
    lane: 'slow',
    at: 'POST /api/v1/releases/:id/repair',
    schema: RepairStart,
    runsOnHosts: true,
  },
  'release.list': {
    ...looks('release.list'),
    at: 'GET /api/v1/releases',
    schema: inputs.ReleaseList,
  },
  'release.show': {
    ...looks('release.list'),
    at: 'GET /api/v1/releases/:id',
    schema: inputs.OneRelease,
  },
  'release.follow': {
    ...looks('release.list'),
    at: 'GET /api/v1/releases/:id/events',
    schema: inputs.OneRelease,
  },
  'host.list': {
    ...looks('host.list'),
    at: 'GET /api/v1/ops/hosts',
    schema: inputs.HostList,
  },
  'host.show': {
    ...looks('host.list'),
    at: 'GET /api/v1/ops/hosts/:peer',
    object: 'peer',
    schema: inputs.HostShow,
  },
  'host.query': {
    ...looks('host.query'),
    at: 'POST /api/v1/ops/hosts/query',
    isAboutHosts: true,
    schema: inputs.HostQuery,
  },
  'host.label': {
    ...cell,
    permission: 'host.label',
    risk: 'change',
    audit: 'host.label',
    at: 'POST /api/v1/ops/hosts/labels',
    isAboutHosts: true,
    schema: inputs.HostLabel,
  },
  'host.retire': {
    ...cell,
    permission: 'host.retire',
    risk: 'danger',
    audit: 'host.retire',
    at: 'POST /api/v1/ops/hosts/retire',
    isAboutHosts: true,
    schema: inputs.HostRetire,
  },
  'audit.list': {
    ...looks('audit.list'),
    at: 'GET /api/v1/audit',
    schema: inputs.AuditList,
  },
  'audit.export': {
    ...looks('audit.list'),
    at: 'GET /api/v1/audit/export',
    schema: inputs.Nothing,
  },
  'audit.prune': {
    ...cell,
    permission: 'audit.prune',
    risk: 'danger',
    audit: 'audit.prune',
    at: 'POST /api/v1/audit/prune',
    schema: inputs.AuditPrune,
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

export function isVerb(name: string): name is VerbName {
  return Object.hasOwn(verbs, name);
}
