/**
 * Tunnels to hosts that the operator names are opened: TLS ends here, in the name of the proxy's CA, and the requests
 * inside go through the same rules as all others. The origin is asked for a handshake first: where that fails the
 * tunnel fails, because clients fall back only then, and not on an answer inside a good handshake.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import type { Socket } from 'node:net';
import { TLSSocket, connect as connectTls } from 'node:tls';
import { LRUCache } from 'lru-cache';
import { formatHostPort } from '../../core/base/addresses.ts';
import type { HostPort } from '../../core/base/addresses.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError, systemCode } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { AdmittedUser, ProxyAccess } from './access.ts';
import { answerError } from './forward-answer.ts';
import type { InterceptCa } from './intercept-ca.ts';
import type { UrlHandler } from './proxy-server.ts';
import { createRequestServer } from './request-server.ts';
import { RequestTurns } from './request-turns.ts';
import { connectGuarded } from './tunnel.ts';
import type { TunnelClient, TunnelInterceptor } from './tunnel.ts';

const HANDSHAKE_MS = 10_000;
/** An origin that shook hands is not asked again for a while. */
const PROVEN_MS = 300_000;
const MAX_PROVEN = 1024;

/** How tunnels are opened. */
export interface InterceptorOptions {
  /** `name` or `*.domain`; `*` covers all hosts. */
  readonly hosts: readonly string[];
  readonly ca: InterceptCa;
  readonly access: ProxyAccess;
  readonly forward: UrlHandler;
  readonly clock: Clock;
  readonly log: Log;
}

interface OpenedTunnel extends HostPort {
  readonly user: AdmittedUser;
}

/** Opens tunnels to the hosts that it covers. */
export class Interceptor implements TunnelInterceptor {
  readonly #options: InterceptorOptions;
  readonly #server: Server;
  readonly #tunnels = new WeakMap<object, OpenedTunnel>();
  readonly #turns = new RequestTurns();
  readonly #proven = new LRUCache<string, true>({ max: MAX_PROVEN, ttl: PROVEN_MS });

  constructor(options: InterceptorOptions) {
    this.#options = options;
    // Never listens: it is given the connections that come out of tunnels.
    this.#server = createRequestServer((request, response) => void this.#serve(request, response));
    this.#server.on('clientError', (_error, socket) => socket.destroy());
  }

  covers(host: string): boolean {
    const name = host.toLowerCase();
    return this.#options.hosts.some((pattern) => isCovered(name, pattern.toLowerCase()));
  }

  /** Throws, before the client is answered, when the origin cannot be reached or shows no certificate that holds. */
  async open(client: TunnelClient, target: OpenedTunnel): Promise<void> {
    const { socket, head } = client;
    await this.#prove(client, target);
    if (head.length > 0) socket.unshift(head);
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
    const secure = new TLSSocket(socket, {
      isServer: true,
      secureContext: this.#options.ca.contextFor(target.host),
      ALPNProtocols: ['http/1.1'],
    });
    this.#tunnels.set(secure, target);
    await this.#shakeHands(secure, socket);
    this.#server.emit('connection', secure);
    await closed(socket);
  }

  /** The client's part of the handshake; one that does not trust the CA hangs up here. */
  async #shakeHands(secure: TLSSocket, socket: Socket): Promise<void> {
    const { clock, log } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.after(HANDSHAKE_MS, () => socket.destroy());
    secure.once('secure', resolve);
    secure.once('close', resolve);
    secure.on('error', (error) => {
      log.debug({ code: systemCode(error) ?? 'tls' }, 'the TLS of an opened tunnel broke');
      socket.destroy();
    });
    await promise;
    timer.cancel();
  }

  async #prove(client: TunnelClient, target: OpenedTunnel): Promise<void> {
    const name = `${target.user} ${formatHostPort(target).toLowerCase()}`;
    if (this.#proven.get(name) === true) return;
    const { clock, access } = this.#options;
    const check = access.checkFor(target.user);
    const socket = await connectGuarded(target, { clock, check, client: client.socket });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = clock.after(HANDSHAKE_MS, () => reject(new Error('no TLS handshake in time')));
    const servername = isIP(target.host) === 0 ? { servername: target.host } : {};
    const secure = connectTls({
      socket,
      host: target.host,
      ...servername,
      ALPNProtocols: ['http/1.1'],
    });
    secure.once('secureConnect', resolve);
    secure.on('error', reject);
    secure.once('close', () => reject(new Error('the connection was closed')));
    try {
      await promise;
      this.#proven.set(name, true);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const message = `${formatHostPort(target)}: TLS: ${reason.slice(0, 200)}`;
      throw new CodedError('ERR_ORIGIN_UNREACHABLE', message, { cause: error });
    } finally {
      timer.cancel();
      secure.destroy();
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const tunnel = this.#tunnels.get(request.socket);
    try {
      if (tunnel === undefined) throw new TypeError('a request from no tunnel');
      if (!(await this.#turns.take(request, response))) return;
      const url = insideUrl(request, tunnel);
      await this.#options.forward.handle({ request, response }, { url, user: tunnel.user });
    } catch (error) {
      answerError(response, error);
    }
  }
}

/** What a request inside of a tunnel is for; throws ERR_REQUEST when it is for another host than the tunnel. */
function insideUrl(request: IncomingMessage, tunnel: HostPort): string {
  const { url = '/', headers } = request;
  const authority = formatHostPort(tunnel);
  const base = `https://${authority}`;
  const wanted = URL.parse(`https://${headers.host ?? authority}`)?.host;
  if (!url.startsWith('/') || wanted !== URL.parse(base)?.host) {
    throw new CodedError('ERR_REQUEST', `the tunnel leads to ${authority}, the request elsewhere`);
  }
  return base + url;
}

function isCovered(host: string, pattern: string): boolean {
  if (pattern === '*') return true;
  if (!pattern.startsWith('*.')) return host === pattern;
  return host.endsWith(pattern.slice(1)) && host.length > pattern.length - 1;
}

async function closed(socket: Socket): Promise<void> {
  if (socket.closed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once('close', () => resolve());
  await promise;
}
