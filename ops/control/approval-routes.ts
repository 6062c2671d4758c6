import { Type } from 'typebox';
import { ApprovalId } from './approval-record.ts';
import type { Approvals } from './approvals.ts';
import type { ApiApp } from '../../core/base/api-app.ts';
import type { CallerOf } from './door-app.ts';
import { verbs } from './verbs.ts';

const Params = Type.Object({ id: ApprovalId });

/** How the routes come to what they need at each request. */
export interface ApprovalRoutesOptions {
  readonly parts: () => { readonly approvals: Approvals };
  readonly callerOf: CallerOf;
}

/** Routes of what waits for somebody's agreement. */
export function addApprovalRoutes(app: ApiApp, { parts, callerOf }: ApprovalRoutesOptions): void {
  const list = { schema: { querystring: verbs['approval.list'].schema } };
  app.get('/api/v1/approvals', list, (request) =>
    parts().approvals.list(request.query, callerOf(request)),
  );

  const one = { schema: { params: Params } };
  app.get('/api/v1/approvals/:id', one, (request) =>
    parts().approvals.show(request.params.id, callerOf(request)),
  );
  app.post('/api/v1/approvals/:id/approve', one, (request) =>
    parts().approvals.agree(request.params.id, callerOf(request)),
  );
  app.post('/api/v1/approvals/:id/deny', one, (request) =>
    parts().approvals.deny(request.params.id, callerOf(request)),
  );
}
