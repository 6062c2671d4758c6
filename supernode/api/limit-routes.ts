import { Type } from 'typebox';
import { BudgetChanges } from '../traffic/cell-budgets.ts';
import type { CellLimits } from '../traffic/cell-limits.ts';
import type { ApiApp } from '../../core/base/api-app.ts';
import { pageLimits, pageOf } from '../../core/base/paging.ts';

const PageQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: pageLimits.max })),
  after: Type.Optional(Type.String({ maxLength: 128 })),
});
/** What the routes need of the cell's budgets. */
export type ServedLimits = Pick<CellLimits, 'budgets' | 'outstanding' | 'hosts' | 'set'>;

/** Routes of the cell's budgets: what is set, and how it is split; and setting them. */
export function addLimitRoutes(app: ApiApp, limits: () => ServedLimits): void {
  app.get('/api/v1/limits', { schema: { querystring: PageQuery } }, (request) => {
    const { limit = pageLimits.default, after = '' } = request.query;
    const { budgets, outstanding } = limits();
    const hosts = limits().hosts();
    const page = pageOf(hosts.keys(), { limit, after }, (peer) => hosts.get(peer)?.());
    return { budgets, outstanding, hosts: page };
  });

  app.put('/api/v1/limits', { schema: { body: BudgetChanges } }, async (request, reply) => {
    await limits().set(request.body);
    return reply.send({ budgets: limits().budgets });
  });
}
