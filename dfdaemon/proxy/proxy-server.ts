/**
 * The HTTP server on `--proxy-port`, one for everything that comes there: `/healthz` and `/metrics` for anybody,
 * `/v2/...` to the registry mirror, absolute URLs to the forward proxy, CONNECT to a tunnel; the last three for those
 * whom `access` knows.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { formatHostPort } from '../../core/base/addresses.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError, systemCode } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { refuseUnreadable } from '../local-api/http-server.ts';
import type { ServedHost } from '../local-api/served-host.ts';
import type { AdmittedUser, ProxyAccess } from './access.ts';
import { answerError, answerTunnelError } from './forward-answer.ts';
import type { ForwardedRequest } from './forward-proxy.ts';
import { isRegistryPath } from './registry-path.ts';
import { createRequestServer } from './request-server.ts';
import { RequestTurns } from './request-turns.ts';

const MAX_CONNECTIONS = 2048;
/** Of those who may read /healthz and /metrics only. */
const MAX_STRANGERS = 64;
const DRAIN_LOOK_MS = 20;

/** Answers requests for paths on this port; what it throws is answered as an error. */
export interface PathHandler extends AsyncDisposable {
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
}

/** The registry mirror, which answers requests for blobs of registries elsewhere too. */
export interface MirrorHandler extends PathHandler {
  /** What became of it; false, with nothing sent, for what is no blob. */
  answerBlob(forwarded: ForwardedRequest): Promise<'mesh' | 'direct' | 'failed' | false>;
}

/** Answers requests for URLs elsewhere. */
export interface UrlHandler extends AsyncDisposable {
  handle(
    exchange: { readonly request: IncomingMessage; readonly response: ServerResponse },
    target: { readonly url: string; readonly user: AdmittedUser },
  ): Promise<void>;
}

/** Takes over connections that asked for a tunnel. */
export interface TunnelHandler {
  /** Tunnels that are open. */
  readonly active: number;
  /** Resolves when the connection is answered for; throws what prevents the tunnel, before anything is answered. */
  open(
    connection: { readonly socket: Socket; readonly head: Buffer },
    target: { readonly authority: string; readonly user: AdmittedUser },
  ): Promise<void>;
  /** Ends all tunnels. */
  close(): void;
}

/** What the server is made of; it closes `forward`, `tunnel` and `mirror` with itself. */
export interface ProxyServerOptions {
  readonly host: ServedHost;
  readonly listen: { readonly host: string; readonly port: number };
  readonly access: ProxyAccess;
  readonly forward: UrlHandler;
  readonly tunnel: TunnelHandler;
  /** `/v2` and below. */
  readonly mirror?: PathHandler | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/** A running server; `openProxyServer` makes one. */
export class ProxyServer implements AsyncDisposable {
  readonly #options: ProxyServerOptions;
  readonly #server: Server;
  readonly #turns = new RequestTurns();
  readonly #sockets = new Set<Socket>();
  #strangers = 0;
  #active = 0;
  #isRetired = false;

  constructor(options: ProxyServerOptions) {
    this.#options = options;
    this.#server = createRequestServer((request, response) => void this.serve(request, response));
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on('connection', (socket) => this.#onConnection(socket));
    this.#server.on('clientError', (error, socket) => {
      refuseUnreadable(error, socket);
    });
    this.#server.on('connect', (request: IncomingMessage, socket, head) => {
      // Always one: the server listens on TCP.
      if (socket instanceof Socket) void this.#openTunnel(request, socket, head);
      else socket.destroy();
    });
  }

  /** The port it has, once it listens. */
  get port(): number {
    const address = this.#server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  }

  /** Requests and tunnels that are not ended. */
  get active(): number {
    return this.#active + this.#options.tunnel.active;
  }

  /** Resolves when it takes connections; throws what prevents it. */
  async listen(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once('error', reject);
    // An engine asks for many layers at once; what does not fit in the queue waits seconds for its client to try again.
    this.#server.listen({ ...this.#options.listen, backlog: MAX_CONNECTIONS }, resolve);
    await promise;
    this.#server.off('error', reject);
  }

  /** Takes no more work, but for /healthz and /metrics; resolves when what runs has ended, `graceMs` at the latest. */
  async drain(options: { readonly graceMs: number }): Promise<void> {
    this.#isRetired = true;
    const { clock } = this.#options;
    const endMs = clock.monotonic() + options.graceMs;
    while (this.active > 0 && clock.monotonic() < endMs) await clock.sleep(DRAIN_LOOK_MS);
  }

  /** Answers one request; whatever goes wrong is told to the client. */
  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#active += 1;
    response.once('close', () => (this.#active -= 1));
    try {
      if (await this.#turns.take(request, response)) await this.#answer(request, response);
    } catch (error) {
      this.#tell(error, request);
      answerError(response, error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isRetired = true;
    this.#options.tunnel.close();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    for (const socket of this.#sockets) socket.destroy();
    await promise;
    await this.#options.forward[Symbol.asyncDispose]();
    await this.#options.mirror?.[Symbol.asyncDispose]();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { host, access, mirror, forward } = this.#options;
    const { url = '/', method = 'GET', socket } = request;
    if (/^[a-z][a-z0-9+.-]*:/i.test(url)) {
      const user = access.admit(socket);
      this.#refuseRetired();
      return forward.handle({ request, response }, { url, user });
    }
    const [path = '/'] = url.split('?', 1);
    if (method === 'GET' && path === '/healthz') {
      const health = host.health();
      const isServing = health.status === 'ok' || health.status === 'degraded';
      const type = 'application/json; charset=utf-8';
      return send(response, { status: isServing ? 200 : 503, type, text: JSON.stringify(health) });
    }
    if (method === 'GET' && path === '/metrics') {
      const { contentType, text } = await host.metrics();
      return send(response, { status: 200, type: contentType, text });
    }
    if (mirror !== undefined && isRegistryPath(path)) {
      access.admit(socket);
      this.#refuseRetired();
      return mirror.handle(request, response);
    }
    const message = `nothing is at ${method} ${path.slice(0, 200)}`;
    throw new CodedError('ERR_NOT_FOUND', message);
  }

  async #openTunnel(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    // Nobody listens to a connection that was handed over.
    socket.on('error', () => socket.destroy());
    try {
      if (this.#turns.isBusy(socket)) {
        throw new CodedError('ERR_REQUEST', 'CONNECT before the last request is answered');
      }
      const { access, tunnel } = this.#options;
      const user = access.admit(socket);
      this.#refuseRetired();
      await tunnel.open({ socket, head }, { authority: request.url ?? '', user });
    } catch (error) {
      this.#tell(error, request);
      answerTunnelError(socket, error);
    }
  }

  #onConnection(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    if (this.#options.access.userOf(socket) !== 'stranger') return;
    if (this.#strangers >= MAX_STRANGERS) {
      socket.destroy();
      return;
    }
    this.#strangers += 1;
    socket.once('close', () => (this.#strangers -= 1));
  }

  #refuseRetired(): void {
    if (this.#isRetired) throw new CodedError('ERR_BUSY', 'dfdaemon is stopping');
  }

  /** Into the log: what a client asked wrongly is told to him alone. */
  #tell(error: unknown, request: IncomingMessage): void {
    const coded = CodedError.from(error);
    const facts = { code: coded.code, method: request.method };
    const { log } = this.#options;
    if (coded.code === 'ERR_INTERNAL')
      log.error({ ...facts, err: error }, 'a proxied request failed');
    else log.debug({ ...facts, reason: coded.message }, 'a proxied request failed');
  }
}

/** Listens; throws ERR_ADDRESS_IN_USE or ERR_USAGE naming flag and address. */
export async function openProxyServer(options: ProxyServerOptions): Promise<ProxyServer> {
  const server = new ProxyServer(options);
  try {
    await server.listen();
  } catch (error) {
    await options.forward[Symbol.asyncDispose]();
    await options.mirror?.[Symbol.asyncDispose]();
    throw listenError(options.listen, error);
  }
  return server;
}

function send(
  response: ServerResponse,
  answer: { readonly status: number; readonly type: string; readonly text: string },
): void {
  response.writeHead(answer.status, {
    'content-type': answer.type,
    'content-length': Buffer.byteLength(answer.text),
  });
  response.end(answer.text);
}

function listenError(
  listen: { readonly host: string; readonly port: number },
  cause: unknown,
): CodedError {
  const address = formatHostPort(listen);
  const code = systemCode(cause) ?? 'unknown';
  if (code === 'EADDRINUSE') {
    return new CodedError('ERR_ADDRESS_IN_USE', `--proxy-port: ${address} is taken`, { cause });
  }
  const flag = code === 'EADDRNOTAVAIL' ? '--listen' : '--proxy-port';
  return new CodedError('ERR_USAGE', `${flag}: cannot listen on ${address} (${code})`, { cause });
}
