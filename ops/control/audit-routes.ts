import { Readable } from 'node:stream';
import { Type } from 'typebox';
import { Limiter } from '../../core/base/limiter.ts';
import { pageLimits } from '../../core/base/paging.ts';
import type { AuditLog } from './audit-log.ts';
import { recordLimits } from './audit-record.ts';
import type { OpsApp } from './door-app.ts';

/** What the routes need of the log. */
export type ServedAudit = Pick<AuditLog, 'list' | 'export'>;

const ListQuery = Type.Object({
  order: Type.Optional(Type.Enum(['oldest', 'newest'])),
  after: Type.Optional(Type.Integer({ minimum: 0 })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: pageLimits.max })),
  kind: Type.Optional(Type.String({ maxLength: 128 })),
  principal: Type.Optional(Type.String({ maxLength: recordLimits.nameLength })),
});

/** Exports at one time: each holds a view of the store as it was. */
const MAX_EXPORTS = 4;

/** Routes of the audit: a page of records, and all of it as lines that can be verified. */
export function addAuditRoutes(app: OpsApp, audit: () => ServedAudit): void {
  app.get('/api/v1/audit', { schema: { querystring: ListQuery } }, async (request, reply) => {
    const { limit = pageLimits.default, ...query } = request.query;
    return reply.send(await audit().list({ ...query, limit }));
  });

  const exports = new Limiter({ max: MAX_EXPORTS, maxWaiting: 0 });
  app.get('/api/v1/audit/export', async (_request, reply) => {
    const lines = audit().export();
    const slot = await exports.acquire();
    const stream = Readable.from(lines);
    stream.once('close', () => slot[Symbol.dispose]());
    return reply.type('application/x-ndjson').header('cache-control', 'no-store').send(stream);
  });
}
