import { Type } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { pageLimits, pageOf } from '../../core/base/paging.ts';
import { peerIdPattern } from '../../core/identity/peer-id.ts';
import type { ApiApp } from '../../core/base/api-app.ts';
import type { CallerOf } from './door-app.ts';
import { labelHosts, retireHost, selectKnown } from './host-changes.ts';
import type { HostParts } from './host-changes.ts';
import type { KnownHost } from './host-record.ts';
import { verbs } from './verbs.ts';

const PeerParams = Type.Object({ peer: Type.String({ pattern: peerIdPattern.source }) });

/** How the routes come to what they need at each request. */
export interface HostRoutesOptions {
  readonly parts: () => HostParts;
  readonly callerOf: CallerOf;
}

/** Routes of what is known of hosts, connected or not. */
export function addHostRoutes(app: ApiApp, { parts, callerOf }: HostRoutesOptions): void {
  const list = { schema: { querystring: verbs['host.list'].schema } };
  app.get('/api/v1/ops/hosts', list, (request) => {
    const { door, hosts } = parts();
    const input = request.query;
    return door.read(
      { verb: 'host.list', caller: callerOf(request), input, object: { id: '' } },
      () => {
        const { limit = pageLimits.default, after = '', on, state = 'active' } = input;
        const isRetired = state === 'retired';
        const meant =
          on === undefined
            ? [...hosts.all()].filter(({ peer }) => hosts.isRetired(peer) === isRetired)
            : selectKnown(hosts, { on, isRetired });
        const byPeer = new Map(meant.map((host) => [host.peer, host]));
        return pageOf(byPeer.keys(), { limit, after }, (peer) => shown(parts(), byPeer.get(peer)));
      },
    );
  });

  app.get('/api/v1/ops/hosts/:peer', { schema: { params: PeerParams } }, (request) => {
    const { door, hosts } = parts();
    const { peer } = request.params;
    return door.read(
      { verb: 'host.list', caller: callerOf(request), input: {}, object: { id: peer } },
      () => {
        const found = shown(parts(), hosts.find(peer));
        if (found !== undefined) return found;
        throw new CodedError('ERR_NOT_FOUND', 'this host was never here');
      },
    );
  });

  const label = { schema: { body: verbs['host.label'].schema } };
  app.post('/api/v1/ops/hosts/labels', label, (request) =>
    labelHosts(parts(), { input: request.body, caller: callerOf(request) }),
  );

  const retire = { schema: { body: verbs['host.retire'].schema } };
  app.post('/api/v1/ops/hosts/retire', retire, async (request, reply) => {
    const retired = await retireHost(parts(), { input: request.body, caller: callerOf(request) });
    return reply.send(shown(parts(), retired));
  });
}

function shown({ hosts }: HostParts, host: KnownHost | undefined): object | undefined {
  if (host === undefined) return undefined;
  return { ...host, state: hosts.isRetired(host.peer) ? 'retired' : 'active' };
}
