import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import type { JobRecord } from '../warm-up/job-record.ts';
import type { WarmUps } from '../warm-up/warm-ups.ts';
import { WarmUpRequest } from '../warm-up/warm-up-request.ts';
import { checkPriority } from './api-access.ts';
import type { ApiKeys } from './api-keys.ts';
import type { ApiApp } from '../../core/base/api-app.ts';
import { pageLimits, pageOf } from '../../core/base/paging.ts';
import type { Page, Paged } from '../../core/base/paging.ts';

/** Room for 256 URLs of ordinary length, and a bound on what 500 waiting jobs take. */
const MAX_BODY_BYTES = 65_536;

const PageQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: pageLimits.max })),
  after: Type.Optional(Type.String({ maxLength: 128 })),
});
const JobParams = Type.Object({ id: Type.String({ pattern: '^[0-9]{1,16}$' }) });

/** What the routes need of warm-ups. */
export type ServedWarmUps = Pick<WarmUps, 'submit' | 'list' | 'find' | 'cancel'>;

/** Routes of warm-ups: begin one, look at them, stop one. */
export function addWarmUpRoutes(
  app: ApiApp,
  warmUps: () => ServedWarmUps,
  keys: ApiKeys | undefined,
): void {
  const body = { schema: { body: WarmUpRequest }, bodyLimit: MAX_BODY_BYTES };
  app.post('/api/v1/warm-ups', body, async (request, reply) => {
    const { authorization } = request.headers;
    const { priority } = request.body;
    if (priority !== undefined) checkPriority(keys, { authorization, priority });
    const job = await warmUps().submit(request.body, 'api');
    return reply.code(201).header('location', `/api/v1/warm-ups/${job.id}`).send(job);
  });

  app.get('/api/v1/warm-ups', { schema: { querystring: PageQuery } }, (request) => {
    const jobs = warmUps().list();
    return pageOf(jobs.keys(), pageFrom(request.query), (id) => jobs.get(id)?.());
  });

  const one = { schema: { params: JobParams, querystring: PageQuery } };
  app.get('/api/v1/warm-ups/:id', one, (request) => {
    const record = warmUps().find(request.params.id);
    if (record === undefined) throw unknownJob();
    return { ...record, results: resultsOf(record, pageFrom(request.query)) };
  });

  const params = { schema: { params: JobParams } };
  app.delete('/api/v1/warm-ups/:id', params, async (request, reply) => {
    if (!(await warmUps().cancel(request.params.id))) throw unknownJob();
    return reply.code(204).send();
  });
}

/** A page of hosts, by peer id. */
function resultsOf({ results }: JobRecord, page: Page): Paged<JobRecord['results'][number]> {
  const byPeer = new Map(results.map((result) => [result.peer, result]));
  return pageOf(byPeer.keys(), page, (peer) => byPeer.get(peer));
}

function unknownJob(): CodedError {
  return new CodedError('ERR_NOT_FOUND', 'there is no warm-up of this id, or not any more');
}

function pageFrom({ limit = pageLimits.default, after = '' }: Static<typeof PageQuery>): Page {
  return { limit, after };
}
