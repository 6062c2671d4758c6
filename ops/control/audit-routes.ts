import { Readable } from 'node:stream';
import type { ApiApp } from '../../core/base/api-app.ts';
import { Limiter } from '../../core/base/limiter.ts';
import { pageLimits } from '../../core/base/paging.ts';
import type { AuditLog } from './audit-log.ts';
import type { CallerOf } from './door-app.ts';
import type { Door } from './door.ts';
import { VerbRoutes } from './verb-routes.ts';

/** What the routes speak for, once that runs. */
export interface AuditParts {
  readonly audit: Pick<AuditLog, 'list' | 'export' | 'prune' | 'sweep'>;
  readonly door: Pick<Door, 'perform' | 'read'>;
}

/** How the routes come to what they need at each request. */
export interface AuditRoutesOptions {
  readonly parts: () => AuditParts;
  readonly callerOf: CallerOf;
}

/** Exports at one time: each holds a view of the store as it was. */
const MAX_EXPORTS = 4;

/** Routes of the audit: a page of records, all of it as lines that can be verified, and the end of what is old. */
export function addAuditRoutes(app: ApiApp, { parts, callerOf }: AuditRoutesOptions): void {
  const routes = new VerbRoutes(app, { callerOf, door: () => parts().door });
  routes.read('audit.list', async ({ limit = pageLimits.default, ...query }) =>
    parts().audit.list({ ...query, limit }),
  );

  const exports = new Limiter({ max: MAX_EXPORTS, maxWaiting: 0 });
  routes.handle('audit.export', async ({ input, caller, reply }) => {
    const { audit, door } = parts();
    const asked = { verb: 'audit.export', caller, input, object: { id: '' } } as const;
    const lines = await door.read(asked, () => audit.export());
    const slot = await exports.acquire();
    const stream = Readable.from(lines);
    stream.once('close', () => slot[Symbol.dispose]());
    void reply.type('application/x-ndjson').header('cache-control', 'no-store');
    return stream;
  });

  routes.handle('audit.prune', async ({ input, caller }) => {
    const { audit, door } = parts();
    const asked = { verb: 'audit.prune', caller, input, object: { id: '' } } as const;
    const pruned = await door.perform(asked, async () => audit.prune(input));
    await audit.sweep();
    return pruned;
  });
}
