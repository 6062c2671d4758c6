import type { Clock } from '../../core/base/clock.ts';
import type { Log } from '../../core/base/log.ts';
import type { RateLimiter } from '../../core/net/pacing.ts';
import type { ProxyPlan } from '../config.ts';
import type { ServedHost } from '../local-api/served-host.ts';
import { ProxyAccess } from './access.ts';
import type { BodyStreams } from './body-stream.ts';
import type { ForwardCounts } from './forward-counts.ts';
import type { ContentOpener } from './forward-mesh.ts';
import { ForwardMesh } from './forward-mesh.ts';
import { ForwardProxy } from './forward-proxy.ts';
import type { Interceptor, InterceptorOptions } from './intercept.ts';
import { openProxyServer } from './proxy-server.ts';
import type { MirrorHandler, ProxyServer } from './proxy-server.ts';
import type { ProxyRules } from './rules.ts';
import { Tunnels } from './tunnel.ts';

/** What all that answers on the proxy port has in common. */
export interface SharedParts {
  readonly access: ProxyAccess;
  /** The name of this program in the header of that name. */
  readonly via: string;
  readonly originLimiter: RateLimiter | undefined;
}

/** What the proxy port serves and with what. */
export interface OpenProxyOptions {
  readonly plan: ProxyPlan;
  readonly host: ServedHost;
  readonly engine: ContentOpener;
  readonly bodies: BodyStreams;
  readonly counts: ForwardCounts;
  /** Of what comes from origins without the mesh; absent: no limit. */
  readonly originLimiter?: RateLimiter | undefined;
  /** Makes the registry mirror, from what it shares with the rest of the proxy. */
  readonly mirror?: (shared: SharedParts) => MirrorHandler;
  /** Ports of this program besides the one that is opened here. */
  readonly ownPorts: readonly number[];
  /** What tells this proxy from others in `Via`. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** The proxy port with all that answers there; throws ERR_CONFIG for a bad rule, ERR_KEY_FILE, ERR_ADDRESS_IN_USE, ERR_USAGE. */
export async function openProxy(options: OpenProxyOptions): Promise<ProxyServer> {
  const { plan, host, engine, bodies, counts, ownPorts, originLimiter, clock, log } = options;
  const via = `odonata-${options.name}`;
  const access = new ProxyAccess(plan);
  const common = { access, counts, originLimiter, clock, log, via };
  const rules = async (): Promise<ProxyRules> => {
    const { ProxyRules: Rules } = await import('./rules.ts');
    return new Rules(plan.rules);
  };
  // What is written wrong is told at the start; without any the library waits for the first request.
  const known = plan.rules.length === 0 ? undefined : await rules();
  const mirror = options.mirror?.(common);
  const forward = new ForwardProxy({
    ...common,
    mirror,
    rules: known === undefined ? rules : async () => known,
    mesh: new ForwardMesh({ ...common, engine, bodies }),
  });
  const interceptor = await openInterceptor(plan, { ...common, forward });
  const tunnel = new Tunnels({ ...common, ports: plan.connectPorts, interceptor });
  const server = await openProxyServer({
    ...common,
    host,
    listen: plan.listen,
    forward,
    tunnel,
    mirror,
  });
  access.addOwnPorts([server.port, ...ownPorts]);
  return server;
}

/** Loaded, and the CA made, only where tunnels are opened. */
async function openInterceptor(
  { intercept: hosts, dataDir }: ProxyPlan,
  parts: Omit<InterceptorOptions, 'hosts' | 'ca'>,
): Promise<Interceptor | undefined> {
  if (hosts.length === 0) return undefined;
  const { InterceptCa } = await import('./intercept-ca.ts');
  const { Interceptor: Opener } = await import('./intercept.ts');
  return new Opener({ ...parts, hosts, ca: await InterceptCa.open(dataDir, parts) });
}
