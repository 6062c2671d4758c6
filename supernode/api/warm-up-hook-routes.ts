import { Type } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { parser } from '../../core/wire/parse-message.ts';
import {
  HarborJob,
  OldPreheat,
  jobForHarbor,
  preheatForHarbor,
  requestOfJob,
  requestOfPreheat,
} from '../warm-up/harbor.ts';
import { imageOf, pushedImages } from '../warm-up/push-events.ts';
import type { PushOptions } from '../warm-up/push-options.ts';
import type { ApiApp } from '../../core/base/api-app.ts';
import type { ServedWarmUps } from './warm-up-routes.ts';

/** A notification may carry the references of an image. */
const MAX_BODY_BYTES = 262_144;

const JobParams = Type.Object({ id: Type.String({ pattern: '^[0-9]{1,16}$' }) });
// Harbor sends fields of its own day: those that are not known are left out, not refused.
const parseJob = parser(HarborJob, { code: 'ERR_REQUEST' });
const parsePreheat = parser(OldPreheat, { code: 'ERR_REQUEST' });

/** What pushes are to bring about, and who says so. */
export interface HookParts {
  readonly push: PushOptions;
  readonly warmUps: () => ServedWarmUps;
}

/** Where a registry, or Harbor as to kraken, tells of pushes. */
export function addPushRoutes(app: ApiApp, { push, warmUps }: HookParts): void {
  // Registries name a media type of their own.
  app.addContentTypeParser(
    /^application\/(?:[\w.-]+\+)?json/,
    { parseAs: 'string', bodyLimit: MAX_BODY_BYTES },
    app.getDefaultJsonParser('error', 'error'),
  );
  for (const path of ['/api/v1/hooks/registry', '/registry/notifications']) {
    app.post(path, { bodyLimit: MAX_BODY_BYTES }, async (request, reply) => {
      const { to, registry } = push;
      if (to === undefined) {
        throw new CodedError('ERR_NOT_FOUND', 'without --push-to nothing is done about pushes');
      }
      const served = warmUps();
      const images = pushedImages(request.body).map((image) => imageOf(image, registry));
      const begun = images.map(async (image) => beginOnce(served, { image, to }));
      return reply.send({ warmUps: (await Promise.all(begun)).map(({ id }) => id) });
    });
  }
}

/** A registry that hears no answer says it again. */
async function beginOnce(
  warmUps: ServedWarmUps,
  wish: { readonly image: string; readonly to: string },
): Promise<{ readonly id: string }> {
  for (const look of warmUps.list().values()) {
    const { id, source, state, image, to } = look();
    const isOpen = state === 'waiting' || state === 'resolving' || state === 'running';
    if (isOpen && source === 'push' && image === wish.image && to === wish.to) return { id };
  }
  return warmUps.submit(wish, 'push');
}

/** The API that Harbor expects of a preheat provider of the kind dragonfly, now and before. */
export function addHarborRoutes(app: ApiApp, { push, warmUps }: HookParts): void {
  app.post('/oapi/v1/jobs', async (request, reply) => {
    const job = await warmUps().submit(requestOfJob(parseJob(request.body)), 'harbor');
    return reply.send(jobForHarbor(job));
  });
  app.get('/oapi/v1/jobs/:id', { schema: { params: JobParams } }, (request) =>
    jobForHarbor(found(warmUps(), request.params.id)),
  );
  app.post('/preheats', async (request, reply) => {
    const wish = requestOfPreheat(parsePreheat(request.body), push.to ?? 'seeds');
    const { id } = await warmUps().submit(wish, 'harbor');
    return reply.code(201).send({ ID: id });
  });
  app.get('/preheats/:id', { schema: { params: JobParams } }, (request) =>
    preheatForHarbor(found(warmUps(), request.params.id)),
  );
}

function found(warmUps: ServedWarmUps, id: string): NonNullable<ReturnType<ServedWarmUps['find']>> {
  const record = warmUps.find(id);
  if (record !== undefined) return record;
  throw new CodedError('ERR_NOT_FOUND', 'there is no warm-up of this id, or not any more');
}
