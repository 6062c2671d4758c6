import { Type } from 'typebox';
import type { Static } from 'typebox';
import { callLimits } from '../../core/identity/call-order.ts';
import { CallTarget, MAX_WAIT_MS } from './call-record.ts';
import { BlobDigest, PackageName, PackageVersion } from './package-record.ts';

/** Bounds of releases. */
export const releaseLimits = {
  hosts: 3_000,
  /** Releases that have not ended, one an application. */
  open: 100,
  /** Past so many those that ended are forgotten, the oldest first. */
  kept: 1_000,
  /** A program has this long to be found healthy, ms. */
  healthTimeoutMs: 3_600_000,
} as const;

/** When a release stops by itself and waits for somebody to say `continue`. */
export const pausePolicies = ['none', 'first', 'every'] as const;

/** How hosts are divided: into so many batches, of so many hosts, or of such a share of all. */
export const Batching = Type.Union([
  Type.Object({ count: Type.Integer({ minimum: 1, maximum: releaseLimits.hosts }) }),
  Type.Object({ size: Type.Integer({ minimum: 1, maximum: releaseLimits.hosts }) }),
  Type.Object({ percent: Type.Integer({ minimum: 1, maximum: 100 }) }),
]);
export type Batching = Static<typeof Batching>;

const requested = {
  application: PackageName,
  version: PackageVersion,
  /** Which hosts: see `selectHosts`. */
  on: Type.String({ minLength: 1, maxLength: 8_192 }),
  batches: Batching,
  /** After the first batch (the default), after every batch, or never. */
  pause: Type.Optional(Type.Enum([...pausePolicies])),
  /** Hosts that may fail, of the whole release, before it is rolled back; default none. */
  maxFailures: Type.Optional(Type.Integer({ minimum: 0, maximum: releaseLimits.hosts })),
  /** Default 30 s. */
  healthTimeoutMs: Type.Optional(
    Type.Integer({ minimum: 1, maximum: releaseLimits.healthTimeoutMs }),
  ),
  /** To fetch and unpack it; default 10 minutes. */
  installTimeoutMs: Type.Optional(Type.Integer({ minimum: 1, maximum: callLimits.timeoutMs })),
  /** A host that is busy or away for so long has failed; default 5 minutes. */
  giveUpMs: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_WAIT_MS })),
};

/** A release as it is asked for. */
export const ReleaseRequest = Type.Object(requested);
export type ReleaseRequest = Static<typeof ReleaseRequest>;

/** The same, by somebody who has seen what comes of it: `plan` is the digest that the preview showed. */
export const ReleaseStart = Type.Object({ ...requested, plan: BlobDigest });
export type ReleaseStart = Static<typeof ReleaseStart>;

/** A request with nothing left to choose. */
const settled = {
  application: PackageName,
  version: PackageVersion,
  on: Type.String(),
  pause: Type.Enum([...pausePolicies]),
  maxFailures: Type.Integer(),
  healthTimeoutMs: Type.Integer(),
  installTimeoutMs: Type.Integer(),
  giveUpMs: Type.Optional(Type.Integer()),
  /** Of the package. */
  digest: BlobDigest,
  /** Where the package is. */
  url: Type.String(),
};

/** What a release will do, and nothing else: hosts in the batches in which they come. */
export const ReleasePlan = Type.Object({
  ...settled,
  batches: Type.Array(Type.Array(CallTarget)),
  /** Of all of it: `digestOfPlan()`. */
  plan: BlobDigest,
});
export type ReleasePlan = Static<typeof ReleasePlan>;

export const ReleaseId = Type.String({ pattern: '^[0-9a-z]{8,32}$' });

/** What may be asked of a release that has not ended. */
export const releaseWishes = ['continue', 'pause', 'rollback', 'close'] as const;
export type ReleaseWish = (typeof releaseWishes)[number];

export const ReleaseControl = Type.Object({ id: ReleaseId, wish: Type.Enum([...releaseWishes]) });

/** Hosts of a release that has ended are to come to what it decided for them: all that have not, or those of `on`. */
const repaired = {
  id: ReleaseId,
  on: Type.Optional(Type.String({ minLength: 1, maxLength: 8_192 })),
};
export const RepairRequest = Type.Object(repaired);
export type RepairRequest = Static<typeof RepairRequest>;

/** The same, by somebody who has seen what comes of it. */
export const RepairStart = Type.Object({ ...repaired, plan: BlobDigest });
export type RepairStart = Static<typeof RepairStart>;

/** A release as it is kept: everything that does not change. */
export const ReleaseRecord = Type.Object({
  ...settled,
  batches: Type.Array(Type.Array(CallTarget)),
  plan: BlobDigest,
  id: ReleaseId,
  principal: Type.String(),
  /** Id of the API key that it was started with; absent: the operator's. */
  key: Type.Optional(Type.String()),
  /** Cell time, ms. */
  created: Type.Integer(),
});
export type ReleaseRecord = Static<typeof ReleaseRecord>;
