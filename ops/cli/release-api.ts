import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { ReleaseWish } from '../control/release-record.ts';
import type { ApiClient } from './api-client.ts';

const PATH = '/api/v1/releases';
const target = {
  peer: Type.String(),
  hostname: Type.Optional(Type.String()),
  idc: Type.Optional(Type.String()),
};
const chosen = { pause: Type.String(), maxFailures: Type.Number() };
const Preview = Type.Object({
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
const Summary = Type.Object({ ...about, batches: Type.Number() });
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
const Detail = Type.Object({
  ...about,
  batches: Type.Array(Type.Array(ReleaseHost)),
  late: Type.Optional(Type.Array(LateHost)),
});
const Repair = Type.Object({
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
const ReleaseEvent = Type.Union([
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
export type Detail = Static<typeof Detail>;
export type Repair = Static<typeof Repair>;
export type LateHost = Static<typeof LateHost>;
export type ReleaseHost = Static<typeof ReleaseHost>;
export type ReleaseEvent = Static<typeof ReleaseEvent>;

const parsePreview = parser(Preview);
const parseSummary = parser(Summary);
const parseDetail = parser(Detail);
const parseEvent = parser(ReleaseEvent);
const parseRepair = parser(Repair);
const parseList = parser(Type.Object({ items: Type.Array(Summary) }));

/** A release, and which of its hosts; without `on` all that have not come to what it decided. */
export interface RepairWish {
  readonly id: string;
  readonly on?: string;
}

/** What a release would do. */
export async function previewRelease(
  api: ApiClient,
  body: object,
  signal: AbortSignal,
): Promise<Preview> {
  return parsePreview(await api.ask({ method: 'POST', path: `${PATH}/preview`, body, signal }));
}

/** Starts what was previewed. */
export async function startRelease(
  api: ApiClient,
  body: object,
  signal: AbortSignal,
): Promise<Summary> {
  return parseSummary(await api.ask({ method: 'POST', path: PATH, body, signal }));
}

/** The newest releases. */
export async function listReleases(api: ApiClient, signal: AbortSignal): Promise<Summary[]> {
  return parseList(await api.ask({ method: 'GET', path: `${PATH}?limit=100`, signal })).items;
}

/** A release with all its hosts. */
export async function showRelease(
  api: ApiClient,
  id: string,
  signal: AbortSignal,
): Promise<Detail> {
  return parseDetail(await api.ask({ method: 'GET', path: pathOf(id), signal }));
}

/** What happens to a release, as it happens. */
export async function* followRelease(
  api: ApiClient,
  id: string,
  signal: AbortSignal,
): AsyncGenerator<ReleaseEvent> {
  const path = `${pathOf(id)}/events`;
  for await (const event of api.follow({ method: 'GET', path, signal })) yield parseEvent(event);
}

/** Wishes something of a release. */
export async function controlRelease(
  api: ApiClient,
  { id, wish }: { readonly id: string; readonly wish: ReleaseWish },
  signal: AbortSignal,
): Promise<Summary> {
  return parseSummary(await api.ask({ method: 'POST', path: `${pathOf(id)}/${wish}`, signal }));
}

/** What a repair of hosts of a release would do. */
export async function previewRepair(
  api: ApiClient,
  { id, ...body }: RepairWish,
  signal: AbortSignal,
): Promise<Repair> {
  const path = `${pathOf(id)}/repair/preview`;
  return parseRepair(await api.ask({ method: 'POST', path, body, signal }));
}

/** Begins the repair that was previewed. */
export async function startRepair(
  api: ApiClient,
  { id, ...body }: RepairWish & { readonly plan: string },
  signal: AbortSignal,
): Promise<Repair> {
  return parseRepair(await api.ask({ method: 'POST', path: `${pathOf(id)}/repair`, body, signal }));
}

function pathOf(id: string): string {
  if (/^[0-9a-z]{8,32}$/.test(id)) return `${PATH}/${id}`;
  throw new CodedError('ERR_USAGE', `not the id of a release: ${JSON.stringify(id)}`);
}
