// What tests of the proxy share: the proxy port of a host in memory, and an HTTP client that speaks to proxies.
import { request as httpRequest } from 'node:http';
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { once } from 'node:events';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { SystemRandom } from '../../core/base/random.ts';
import type { ProxyPlan } from '../config.ts';
import { MemoryHost, warmDownload } from '../local-api/memory-host.contract.ts';
import { BodyStreams } from './body-stream.ts';
import { ForwardCounts } from './forward-counts.ts';
import type { ContentOpener } from './forward-mesh.ts';
import { openProxy } from './open-proxy.ts';
import type { OpenProxyOptions } from './open-proxy.ts';
import type { ProxyServer } from './proxy-server.ts';
import { Upstreams } from './registry-upstreams.ts';

/** Of origins of tests. */
export const LOOPBACK = '127.0.0.0/8';

/** An engine that has no content: what should go through the mesh goes to the origin. */
export const noMesh: ContentOpener = {
  openContent: () => Promise.reject(new CodedError('ERR_MESH_UNAVAILABLE', 'there is no mesh')),
};

/** A proxy port on a free port of loopback. */
export async function startProxy(
  plan: Partial<ProxyPlan> = {},
  options: Partial<Omit<OpenProxyOptions, 'plan'>> = {},
): Promise<ProxyServer> {
  const clock = new SystemClock();
  return openProxy({
    plan: {
      dataDir: '/nonexistent',
      listen: { host: '127.0.0.1', port: 0 },
      allow: [],
      originAllow: [LOOPBACK],
      rules: [],
      connectPorts: [443],
      intercept: [],
      upstreams: new Upstreams(),
      loginFile: undefined,
      ...plan,
    },
    host: new MemoryHost(warmDownload),
    engine: noMesh,
    counts: new ForwardCounts(),
    ownPorts: [],
    name: 'test',
    bodies: new BodyStreams({ clock, random: new SystemRandom(), log: silentLog }),
    clock,
    log: silentLog,
    ...options,
  });
}

/** An answer, its body read. */
export interface Answered {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** Asks a proxy for a URL, as clients with http_proxy do. */
export async function viaProxy(
  port: number,
  url: string,
  options: {
    readonly method?: string;
    readonly headers?: OutgoingHttpHeaders;
    readonly body?: string | Uint8Array;
    readonly localAddress?: string;
  } = {},
): Promise<Answered> {
  const { body, ...rest } = options;
  const asked = httpRequest({ host: '127.0.0.1', port, path: url, agent: false, ...rest });
  asked.end(body);
  const event = rest.method === 'CONNECT' ? 'connect' : 'response';
  const [answer] = (await once(asked, event)) as [IncomingMessage];
  const chunks: Uint8Array[] = [];
  for await (const chunk of answer) chunks.push(chunk as Uint8Array);
  return { status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(chunks) };
}
