import { Type } from 'typebox';
import type { Static } from 'typebox';
import { PackageVersion } from './package-record.ts';
import { releaseWishes } from './release-record.ts';
import type { ReleaseRecord } from './release-record.ts';

/** Those after `paused` are ends. */
export const releasePhases = [
  'planned',
  'running',
  'paused',
  'done',
  'rolled-back',
  'rollback-failed',
  'closed',
] as const;
export type ReleasePhase = (typeof releasePhases)[number];

/** What is done with the hosts of a batch. */
export const releaseSteps = ['install', 'switch', 'rollback'] as const;

/** In whose name calls are made. */
export const Asker = Type.Object({ principal: Type.String(), key: Type.Optional(Type.String()) });
export type Asker = Static<typeof Asker>;

/** One host, from its first answer on; a host that is not there was not asked, or has not answered. */
export const HostProgress = Type.Object({
  /**
   * `installed`: beside what runs. `failed`: so it stayed, what runs there was never touched. `switched`: it runs.
   * `broken`: it was to switch, and did not say that it runs well. `restored`, `lost`: it was to switch back, and said,
   * or did not say, that its former version runs well.
   */
  stage: Type.Enum(['installed', 'failed', 'switched', 'broken', 'restored', 'lost']),
  /** What ran there before; null: nothing. Absent: the host never said. */
  former: Type.Optional(Type.Union([PackageVersion, Type.Null()])),
  /** Why it counts as failed. */
  why: Type.Optional(Type.String()),
  /** Why it is lost. */
  whyLost: Type.Optional(Type.String()),
  /** What it last said that runs there; null: nothing. Absent: what it has come to since, it did not say. */
  has: Type.Optional(Type.Union([PackageVersion, Type.Null()])),
  /** True: it was away, or died, and did not say what became of the last thing that it was told. */
  isSilent: Type.Optional(Type.Boolean()),
});
export type HostProgress = Static<typeof HostProgress>;

/** Where a release stands. On the disk before what it says is done. */
export const ReleaseState = Type.Object({
  phase: Type.Enum([...releasePhases]),
  /** Under way, or, while nothing is, what comes next. */
  step: Type.Enum([...releaseSteps]),
  /** Which batch the step is of, from 0. */
  batch: Type.Integer({ minimum: 0 }),
  /** From 1; one more after calls that could not be made. */
  attempt: Type.Integer({ minimum: 1 }),
  /** Ids of the calls of the step under way. */
  calls: Type.Array(Type.String()),
  by: Asker,
  /** Heeded when the step under way has ended. */
  wish: Type.Optional(Type.Enum([...releaseWishes])),
  /** Why it is paused. */
  pausedFor: Type.Optional(Type.String()),
  /** Why it goes back, or went. */
  rolledBackFor: Type.Optional(Type.String()),
  /** Cell time of the last change, ms. */
  at: Type.Integer(),
  /** By peer id. */
  hosts: Type.Record(Type.String(), HostProgress),
});
export type ReleaseState = Static<typeof ReleaseState>;

/** Before anything was done. */
export function stateAtStart({ principal, key, created }: ReleaseRecord): ReleaseState {
  const by = key === undefined ? { principal } : { principal, key };
  const nothing = { calls: [], hosts: {} };
  return { phase: 'planned', step: 'install', batch: 0, attempt: 1, by, at: created, ...nothing };
}

/** True when nothing will happen any more. */
export function isEnded({ phase }: Pick<ReleaseState, 'phase'>): boolean {
  return !['planned', 'running', 'paused'].includes(phase);
}

/** How many hosts have failed. */
export function failuresOf({ hosts }: Pick<ReleaseState, 'hosts'>): number {
  return Object.values(hosts).filter(({ why }) => why !== undefined).length;
}
