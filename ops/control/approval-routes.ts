import type { ApiApp } from '../../core/base/api-app.ts';
import type { Approvals } from './approvals.ts';
import type { CallerOf } from './door-app.ts';
import type { Door } from './door.ts';
import { VerbRoutes } from './verb-routes.ts';

/** How the routes come to what they need at each request. */
export interface ApprovalRoutesOptions {
  readonly parts: () => { readonly door: Door; readonly approvals: Approvals };
  readonly callerOf: CallerOf;
}

/** Routes of what waits for somebody's agreement. */
export function addApprovalRoutes(app: ApiApp, { parts, callerOf }: ApprovalRoutesOptions): void {
  const routes = new VerbRoutes(app, { callerOf, door: () => parts().door });
  routes.handle('approval.list', ({ input, caller }) => parts().approvals.list(input, caller));
  routes.handle('approval.show', ({ input, caller }) => parts().approvals.show(input.id, caller));
  routes.handle('approval.give', ({ input, caller }) => parts().approvals.agree(input.id, caller));
  routes.handle('approval.deny', ({ input, caller }) => parts().approvals.deny(input, caller));
}
