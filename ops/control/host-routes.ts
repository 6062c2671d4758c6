import type { ApiApp } from '../../core/base/api-app.ts';
import { CodedError } from '../../core/base/error.ts';
import { pageLimits, pageOf } from '../../core/base/paging.ts';
import type { CallerOf } from './door-app.ts';
import { labelHosts, retireHost, selectKnown } from './host-changes.ts';
import type { HostParts } from './host-changes.ts';
import { planQuery, runQuery } from './host-query.ts';
import type { KnownHost } from './host-record.ts';
import type { QueryDesk } from './query-desk.ts';
import { VerbRoutes } from './verb-routes.ts';

/** How the routes come to what they need at each request. */
export interface HostRoutesOptions {
  readonly parts: () => HostParts & { readonly queries: QueryDesk };
  readonly callerOf: CallerOf;
}

/** Routes of what is known of hosts, connected or not. */
export function addHostRoutes(app: ApiApp, { parts, callerOf }: HostRoutesOptions): void {
  const routes = new VerbRoutes(app, { callerOf, door: () => parts().door });
  routes.read('host.list', ({ limit = pageLimits.default, after = '', on, state = 'active' }) => {
    const { hosts } = parts();
    const isRetired = state === 'retired';
    const meant =
      on === undefined
        ? [...hosts.all()].filter(({ peer }) => hosts.isRetired(peer) === isRetired)
        : selectKnown(hosts, { on, isRetired });
    const byPeer = new Map(meant.map((host) => [host.peer, host]));
    return pageOf(byPeer.keys(), { limit, after }, (peer) => shown(parts(), byPeer.get(peer)));
  });
  routes.read('host.show', ({ peer }) => {
    const found = shown(parts(), parts().hosts.find(peer));
    if (found !== undefined) return found;
    throw new CodedError('ERR_NOT_FOUND', 'this host was never here');
  });
  routes.handle('host.query', async ({ input, caller, reply }) => {
    using plan = await planQuery(parts(), { input, caller });
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
    await runQuery(plan, raw);
  });
  routes.handle('host.label', ({ input, caller }) => labelHosts(parts(), { input, caller }));
  routes.handle('host.retire', async ({ input, caller }) =>
    shown(parts(), await retireHost(parts(), { input, caller })),
  );
}

function shown({ hosts }: HostParts, host: KnownHost | undefined): object | undefined {
  if (host === undefined) return undefined;
  return { ...host, state: hosts.isRetired(host.peer) ? 'retired' : 'active' };
}
