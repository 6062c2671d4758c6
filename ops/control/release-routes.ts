import type { ApiApp } from '../../core/base/api-app.ts';
import type { CallerOf } from './door-app.ts';
import type { OpsControl } from './index.ts';
import { followRelease } from './release-follow.ts';
import type { ReleasePlan, ReleaseRecord } from './release-record.ts';
import type { RepairPlan } from './repair-orders.ts';
import { VerbRoutes } from './verb-routes.ts';
import type { VerbRequest } from './verb-routes.ts';
import { verbs } from './verbs.ts';

/** What the routes speak for, once that runs. */
type ReleaseParts = Pick<OpsControl, 'releases' | 'door'>;

/** How the routes come to what they need at each request. */
export interface ReleaseRoutesOptions {
  readonly control: () => ReleaseParts;
  readonly callerOf: CallerOf;
}

/** Routes of releases: preview one, start it, look at it, follow it, lead it. */
export function addReleaseRoutes(app: ApiApp, { control, callerOf }: ReleaseRoutesOptions): void {
  const routes = new VerbRoutes(app, { callerOf, door: () => control().door });
  routes.handle('release.preview', async ({ input, caller }) => {
    const plan = await control().releases.preview(input, caller);
    return { ...previewOf(plan), risk: verbs['release.start'].risk };
  });
  routes.handle(
    'release.start',
    async ({ input, caller, reply }) => {
      const started = await control().releases.start(input, caller);
      void reply.header('location', `/api/v1/releases/${started.id}`);
      return started;
    },
    { status: 201 },
  );
  routes.handle('release.repairs', async ({ input, caller }) => {
    const plan = await control().releases.orders.preview(input, caller);
    return { ...repairOf(plan), risk: verbs['release.repair'].risk };
  });
  routes.handle(
    'release.repair',
    async ({ input, caller }) => repairOf(await control().releases.orders.start(input, caller)),
    { status: 202 },
  );
  routes.handle('release.control', ({ input: { id, wish }, caller }) =>
    control().releases.control(id, wish, caller),
  );

  routes.read('release.list', (input) => control().releases.list(input));
  routes.handle('release.show', async (request) => {
    const { id } = await recordFor(control(), 'release.show', request);
    return control().releases.detail(id);
  });
  routes.handle('release.follow', async (request) => {
    const record = await recordFor(control(), 'release.follow', request);
    const { reply } = request;
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
    await followRelease(record, control().releases, raw);
  });
}

function repairOf({ plan: digest, ...plan }: RepairPlan): object {
  return { ...plan, digest };
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

/**
 * The release that somebody would look at: who started it may; for all others that is for the door to say, which tells
 * only who may look at any that there is none.
 */
async function recordFor<Name extends 'release.show' | 'release.follow'>(
  { door, releases }: ReleaseParts,
  verb: Name,
  { input, caller }: VerbRequest<Name>,
): Promise<ReleaseRecord> {
  const { id } = input;
  const record = await releases.find(id);
  if (record?.principal === caller.principal.name) return record;
  return door.read({ verb, caller, input, object: { id } }, async () => releases.record(id));
}
