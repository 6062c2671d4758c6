import { Readable } from 'node:stream';
import { Limiter } from '../../core/base/limiter.ts';
import { pageLimits } from '../../core/base/paging.ts';
import type { AuditLog } from './audit-log.ts';
import type { ApiApp } from '../../core/base/api-app.ts';
import type { CallerOf } from './door-app.ts';
import type { Door } from './door.ts';
import { verbs } from './verbs.ts';

/** What the routes speak for, once that runs. */
export interface AuditParts {
  readonly audit: Pick<AuditLog, 'list' | 'export'>;
  readonly door: Pick<Door, 'read'>;
}

/** How the routes come to what they need at each request. */
export interface AuditRoutesOptions {
  readonly parts: () => AuditParts;
  readonly callerOf: CallerOf;
}

/** Exports at one time: each holds a view of the store as it was. */
const MAX_EXPORTS = 4;

/** Routes of the audit: a page of records, and all of it as lines that can be verified. */
export function addAuditRoutes(app: ApiApp, { parts, callerOf }: AuditRoutesOptions): void {
  const asked = { verb: 'audit.list', object: { id: '' } } as const;
  const list = { schema: { querystring: verbs['audit.list'].schema } };
  app.get('/api/v1/audit', list, async (request, reply) => {
    const { audit, door } = parts();
    const { limit = pageLimits.default, ...query } = request.query;
    const about = { ...asked, caller: callerOf(request), input: request.query };
    return reply.send(await door.read(about, async () => audit.list({ ...query, limit })));
  });

  const exports = new Limiter({ max: MAX_EXPORTS, maxWaiting: 0 });
  app.get('/api/v1/audit/export', async (request, reply) => {
    const { audit, door } = parts();
    const about = { ...asked, caller: callerOf(request), input: {} };
    const lines = await door.read(about, () => audit.export());
    const slot = await exports.acquire();
    const stream = Readable.from(lines);
    stream.once('close', () => slot[Symbol.dispose]());
    return reply.type('application/x-ndjson').header('cache-control', 'no-store').send(stream);
  });
}
