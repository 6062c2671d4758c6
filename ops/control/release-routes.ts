import { Type } from 'typebox';
import { pageLimits } from '../../core/base/paging.ts';
import type { ApiApp } from '../../core/base/api-app.ts';
import type { CallerOf } from './door-app.ts';
import { followRelease } from './release-follow.ts';
import { ReleaseId, ReleaseRequest, ReleaseStart, releaseWishes } from './release-record.ts';
import type { ReleasePlan, ReleaseRecord } from './release-record.ts';
import type { OpsControl } from './index.ts';
import type { Caller } from './principal.ts';
import { verbs } from './verbs.ts';

const IdParams = Type.Object({ id: ReleaseId });
const ListQuery = Type.Object({
  // Where each stands is read with all its hosts.
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: pageLimits.default })),
  before: Type.Optional(ReleaseId),
});

/** What the routes speak for, once that runs. */
type ReleaseParts = Pick<OpsControl, 'releases' | 'door'>;

/** How the routes come to what they need at each request. */
export interface ReleaseRoutesOptions {
  readonly control: () => ReleaseParts;
  readonly callerOf: CallerOf;
}

/** Routes of releases: preview one, start it, look at it, follow it, lead it. */
export function addReleaseRoutes(app: ApiApp, { control, callerOf }: ReleaseRoutesOptions): void {
  const preview = { schema: { body: ReleaseRequest } };
  app.post('/api/v1/releases/preview', preview, async (request, reply) => {
    const plan = await control().releases.preview(request.body, callerOf(request));
    return reply.send({ ...previewOf(plan), risk: verbs['release.start'].risk });
  });

  app.post('/api/v1/releases', { schema: { body: ReleaseStart } }, async (request, reply) => {
    const started = await control().releases.start(request.body, callerOf(request));
    return reply.code(201).header('location', `/api/v1/releases/${started.id}`).send(started);
  });

  const list = { schema: { querystring: ListQuery } };
  app.get('/api/v1/releases', list, async (request, reply) => {
    await mayLook(control(), callerOf(request));
    return reply.send(await control().releases.list(request.query));
  });

  const one = { schema: { params: IdParams } };
  app.get('/api/v1/releases/:id', one, async (request, reply) => {
    const { releases } = control();
    const { id } = request.params;
    await mayLook(control(), callerOf(request), await releases.record(id));
    return reply.send(await releases.detail(id));
  });

  app.get('/api/v1/releases/:id/events', one, async (request, reply) => {
    const { releases } = control();
    const record = await releases.record(request.params.id);
    await mayLook(control(), callerOf(request), record);
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
    await followRelease(record, releases, raw);
  });

  for (const wish of releaseWishes) {
    app.post(`/api/v1/releases/:id/${wish}`, one, (request) =>
      control().releases.control(request.params.id, wish, callerOf(request)),
    );
  }
}

function previewOf(plan: ReleasePlan): object {
  const {
    application: name,
    version,
    digest,
    url,
    batches,
    plan: seen,
    on: _on,
    ...choices
  } = plan;
  const hosts = batches.flat().length;
  return { ...choices, hosts, batches, package: { name, version, digest, url }, digest: seen };
}

/** Who started a release may look at it; for all others that is a verb of its own. */
async function mayLook(
  { door }: ReleaseParts,
  caller: Caller,
  record?: ReleaseRecord,
): Promise<void> {
  if (record !== undefined && record.principal === caller.principal.name) return;
  const object = { id: record?.id ?? '' };
  await door.read({ verb: 'release.list', caller, input: {}, object }, () => undefined);
}
