import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import type { ReleaseWish } from '../control/release-record.ts';
import type { VerbAsk } from '../control/verb-request.ts';
import type { ApiClient } from './api-client.ts';

const target = {
  peer: Type.String(),
  hostname: Type.Optional(Type.String()),
  idc: Type.Optional(Type.String()),
};
const chosen = { pause: Type.String(), maxFailures: Type.Number() };
export const Preview = Type.Object({
  ...chosen,
  hosts: Type.Number(),
  batches: Type.Array(Type.Array(Type.Object(target))),
  package: Type.Object({ name: Type.String(), version: Type.String(), digest: Type.String() }),
  risk: Type.String(),
  digest: Type.String(),
});
const about = {
  ...chosen,
  id: Type.String(),
  application: Type.String(),
  version: Type.String(),
  principal: Type.String(),
  created: Type.Number(),
  phase: Type.String(),
  step: Type.String(),
  batch: Type.Number(),
  hosts: Type.Number(),
  failures: Type.Number(),
  wish: Type.Optional(Type.String()),
  pausedFor: Type.Optional(Type.String()),
  rolledBackFor: Type.Optional(Type.String()),
};
export const Summary = Type.Object({ ...about, batches: Type.Number() });
const Current = Type.Union([Type.String(), Type.Null()]);
const Owed = Type.Object({
  state: Type.String(),
  should: Current,
  has: Type.Optional(Current),
  stage: Type.String(),
  tries: Type.Number(),
  why: Type.String(),
  heldFor: Type.Optional(Type.String()),
});
const LateHost = Type.Object({ ...target, owed: Type.Optional(Owed) });
const ReleaseHost = Type.Object({
  ...LateHost.properties,
  stage: Type.Optional(Type.String()),
  why: Type.Optional(Type.String()),
  whyLost: Type.Optional(Type.String()),
});
export const ReleaseDetail = Type.Object({
  ...about,
  batches: Type.Array(Type.Array(ReleaseHost)),
  late: Type.Optional(Type.Array(LateHost)),
});
export const Repair = Type.Object({
  release: Type.String(),
  application: Type.String(),
  hosts: Type.Array(
    Type.Object({
      ...target,
      should: Current,
      has: Type.Optional(Current),
      state: Type.String(),
      why: Type.Optional(Type.String()),
    }),
  ),
  digest: Type.String(),
});
export const ReleaseEvent = Type.Union([
  Type.Object({ type: Type.Literal('state'), ...Summary.properties }),
  Type.Object({
    type: Type.Literal('host'),
    step: Type.String(),
    batch: Type.Number(),
    peer: Type.String(),
    hostname: Type.Optional(Type.String()),
    outcome: Type.String(),
    exitCode: Type.Optional(Type.Number()),
    code: Type.Optional(Type.String()),
    message: Type.Optional(Type.String()),
  }),
]);

export type Preview = Static<typeof Preview>;
export type Summary = Static<typeof Summary>;
export type Detail = Static<typeof ReleaseDetail>;
export type Repair = Static<typeof Repair>;
export type LateHost = Static<typeof LateHost>;
export type ReleaseHost = Static<typeof ReleaseHost>;
export type ReleaseEvent = Static<typeof ReleaseEvent>;

/** A release, and which of its hosts; without `on` all that have not come to what it decided. */
export interface RepairWish {
  readonly id: string;
  readonly on?: string;
}

/** What a release would do. */
export async function previewRelease(
  api: ApiClient,
  request: VerbAsk<'release.preview'>,
  signal: AbortSignal,
): Promise<Preview> {
  return api.ask('release.preview', request, { signal });
}

/** Starts what was previewed. */
export async function startRelease(
  api: ApiClient,
  request: VerbAsk<'release.start'>,
  signal: AbortSignal,
): Promise<Summary> {
  return api.ask('release.start', request, { signal });
}

/** The newest releases. */
export async function listReleases(api: ApiClient, signal: AbortSignal): Promise<Summary[]> {
  return (await api.ask('release.list', { limit: 100 }, { signal })).items;
}

/** A release with all its hosts. */
export async function showRelease(
  api: ApiClient,
  id: string,
  signal: AbortSignal,
): Promise<Detail> {
  return api.ask('release.show', { id: releaseId(id) }, { signal });
}

/** What happens to a release, as it happens. */
export async function* followRelease(
  api: ApiClient,
  id: string,
  signal: AbortSignal,
): AsyncGenerator<ReleaseEvent> {
  yield* api.follow('release.follow', { id: releaseId(id) }, { signal });
}

/** Wishes something of a release. */
export async function controlRelease(
  api: ApiClient,
  { id, wish }: { readonly id: string; readonly wish: ReleaseWish },
  signal: AbortSignal,
): Promise<Summary> {
  return api.ask('release.control', { id: releaseId(id), wish }, { signal });
}

/** What a repair of hosts of a release would do. */
export async function previewRepair(
  api: ApiClient,
  { id, on }: RepairWish,
  signal: AbortSignal,
): Promise<Repair> {
  return api.ask('release.repairs', { id: releaseId(id), on }, { signal });
}

/** Begins the repair that was previewed. */
export async function startRepair(
  api: ApiClient,
  { id, on, plan }: RepairWish & { readonly plan: string },
  signal: AbortSignal,
): Promise<Repair> {
  return api.ask('release.repair', { id: releaseId(id), on, plan }, { signal });
}

function releaseId(id: string): string {
  if (/^[0-9a-z]{8,32}$/.test(id)) return id;
  throw new CodedError('ERR_USAGE', `not the id of a release: ${JSON.stringify(id)}`);
}
