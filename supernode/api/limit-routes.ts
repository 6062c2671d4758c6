import { Type } from 'typebox';
import type { CellLimits } from '../traffic/cell-limits.ts';
import type { ApiApp } from './fastify-app.ts';
import { pageLimits, pageOf } from './paging.ts';

/** Less is no budget for a cell: it would stand still, and 0 says "no limit". */
const LEAST = 65_536;

const PageQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: pageLimits.max })),
  after: Type.Optional(Type.String({ maxLength: 128 })),
});
const Budget = Type.Union([
  Type.Literal(0),
  Type.Integer({ minimum: LEAST, maximum: 1_000_000_000_000 }),
]);
/** What is to change; what is not named stays. */
const BudgetChanges = Type.Object(
  { download: Type.Optional(Budget), origin: Type.Optional(Budget) },
  { additionalProperties: false },
);

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
