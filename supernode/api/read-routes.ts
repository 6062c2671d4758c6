import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { peerIdPattern } from '../../core/identity/peer-id.ts';
import type { ApiApp } from '../../core/base/api-app.ts';
import { pageLimits } from '../../core/base/paging.ts';
import type { Page } from '../../core/base/paging.ts';
import type { SupernodeView } from './supernode-view.ts';

const PageQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: pageLimits.max })),
  after: Type.Optional(Type.String({ maxLength: 128 })),
});
const TaskParams = Type.Object({ task: Type.String({ pattern: '^[0-9a-f]{64}$' }) });

/** The path of routes about one host. */
export const PeerParams = Type.Object({ peer: Type.String({ pattern: peerIdPattern.source }) });

/** Routes that show what the supernode knows: tasks and hosts. */
export function addReadRoutes(app: ApiApp, view: () => SupernodeView): void {
  app.get('/api/v1/tasks', { schema: { querystring: PageQuery } }, (request) =>
    view().tasks(pageFrom(request.query)),
  );

  app.get(
    '/api/v1/tasks/:task',
    { schema: { params: TaskParams, querystring: PageQuery } },
    (request) => {
      const found = view().task(request.params.task, pageFrom(request.query));
      if (found !== undefined) return found;
      throw new CodedError('ERR_NOT_FOUND', 'no host takes part in this task now');
    },
  );

  app.get('/api/v1/hosts', { schema: { querystring: PageQuery } }, (request) =>
    view().hosts(pageFrom(request.query)),
  );

  app.get(
    '/api/v1/hosts/:peer',
    { schema: { params: PeerParams, querystring: PageQuery } },
    (request) => {
      const found = view().host(request.params.peer, pageFrom(request.query));
      if (found !== undefined) return found;
      throw new CodedError('ERR_NOT_FOUND', 'this host is not connected now');
    },
  );
}

function pageFrom({ limit = pageLimits.default, after = '' }: Static<typeof PageQuery>): Page {
  return { limit, after };
}
