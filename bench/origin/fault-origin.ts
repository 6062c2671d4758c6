import { once } from 'node:events';
import { createServer as createPlainServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { SystemClock } from '../../core/base/clock.ts';
import type { Clock } from '../../core/base/clock.ts';
import { RateLimiter } from '../../core/net/pacing.ts';
import { planAnswer } from './answer.ts';
import type { PlannedAnswer } from './answer.ts';
import { sendBody } from './send-body.ts';
import { emptyStats } from './route.ts';
import type { PathStats, Route, SeenRequest } from './route.ts';

/** How to start an origin. */
export interface OriginServerOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0 (default): any free one. */
  readonly port?: number;
  readonly routes?: Readonly<Record<string, Route>>;
  /** Body rate of all answers together; 0 or absent: no cap. */
  readonly bytesPerSecond?: number;
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly clock?: Clock;
}

/** Statistics of an origin: all paths together, and each. */
export interface OriginStats {
  readonly total: PathStats;
  readonly paths: Record<string, PathStats>;
}

interface RouteState {
  route: Route;
  /** How often each trouble of the route was applied. */
  readonly applied: Map<string, number>;
}

const KEPT_REQUESTS = 1000;

/** Starts a real HTTP origin whose paths behave as told and which counts what it is asked for. */
export async function startOrigin(options: OriginServerOptions = {}): Promise<FaultOrigin> {
  const origin = new FaultOrigin(options);
  await origin.listen();
  return origin;
}

/** A running origin; `startOrigin` makes one. */
export class FaultOrigin implements AsyncDisposable {
  readonly #server: Server;
  readonly #options: OriginServerOptions;
  readonly #clock: Clock;
  readonly #limiter: RateLimiter;
  readonly #routes = new Map<string, RouteState>();
  readonly #paths = new Map<string, PathStats>();
  readonly #total = emptyStats();
  readonly #seenOn = new Map<string, WeakSet<object>>();
  /** The last requests, oldest first. */
  readonly seen: SeenRequest[] = [];

  constructor(options: OriginServerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? new SystemClock();
    this.#limiter = new RateLimiter(options.bytesPerSecond ?? 0, this.#clock);
    for (const [path, route] of Object.entries(options.routes ?? {})) this.set(path, route);
    const listener = (request: IncomingMessage, response: ServerResponse): void => {
      // A client that goes away in mid-answer is what this origin is for.
      this.#answer(request, response).catch(() => response.destroy());
    };
    this.#server =
      options.tls === undefined
        ? createPlainServer(listener)
        : createTlsServer({ ...options.tls }, listener);
    this.#server.keepAliveTimeout = 60_000;
    this.#server.on('connection', () => (this.#total.connections += 1));
  }

  /** Binds the port; `startOrigin` has done it. */
  async listen(): Promise<void> {
    this.#server.listen(this.#options.port ?? 0, this.#options.host ?? '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** The URL of a path, on this origin's host or another name for it. */
  url(path: string, host = this.#options.host ?? '127.0.0.1'): string {
    const scheme = this.#options.tls === undefined ? 'http' : 'https';
    return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${this.port}${path}`;
  }

  /** Gives a path another behaviour; its counts go on. */
  set(path: string, route: Route): void {
    this.#routes.set(path, { route, applied: new Map() });
  }

  /** What was asked of a path so far. */
  stats(path: string): PathStats {
    const known = this.#paths.get(path);
    if (known !== undefined) return known;
    const fresh = emptyStats();
    this.#paths.set(path, fresh);
    return fresh;
  }

  /** What was asked of all paths so far; its connections are those accepted. */
  get total(): PathStats {
    return this.#total;
  }

  /** Everything counted, fit for JSON. */
  allStats(): OriginStats {
    return { total: this.#total, paths: Object.fromEntries(this.#paths) };
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? '/', 'http://origin');
    if (pathname === '/__stats') {
      response.setHeader('content-type', 'application/json');
      response.end(`${JSON.stringify(this.allStats())}\n`);
      return;
    }
    this.#count(request, pathname);
    const state = this.#routes.get(pathname);
    if (state === undefined) {
      this.#refuse(response, pathname, { status: 404 });
      return;
    }
    const { route } = state;
    const fail = refusal(route, request) ?? (applies(state, 'fail') ? route.fail : undefined);
    if (fail !== undefined) {
      this.#refuse(response, pathname, fail);
      return;
    }
    if (applies(state, 'hang')) {
      if (route.hang?.where === 'inside-head') response.socket?.write('HTTP/1.1 200 OK\r\nConte');
      return;
    }
    if (route.slowHeadMs !== undefined) await this.#clock.sleep(route.slowHeadMs);
    if (route.redirect !== undefined) {
      const { to, status = 302 } = route.redirect;
      this.#head(response, pathname, { status, headers: { location: to, 'content-length': '0' } });
      response.end();
      return;
    }
    const isRanged = request.headers.range !== undefined && route.ranges !== false;
    const wrongRange = isRanged && applies(state, 'wrongRange') ? route.wrongRange : undefined;
    const plan = await planAnswer(route, request.headers, wrongRange?.kind);
    await this.#send(plan, { request, response, pathname, state });
  }

  async #send(
    plan: PlannedAnswer,
    context: {
      request: IncomingMessage;
      response: ServerResponse;
      pathname: string;
      state: RouteState;
    },
  ): Promise<void> {
    const { request, response, pathname, state } = context;
    const { route } = state;
    if (route.framing === 'close') {
      response.useChunkedEncodingByDefault = false;
      response.shouldKeepAlive = false;
    }
    this.#head(response, pathname, plan);
    if (request.method === 'HEAD' || plan.content === undefined) {
      response.end();
      return;
    }
    const stats = this.stats(pathname);
    const limiters = [this.#limiter];
    if (route.bytesPerSecond !== undefined) {
      limiters.push(new RateLimiter(route.bytesPerSecond, this.#clock));
    }
    const isLongEnough = (trouble: { afterBytes: number } | undefined): boolean =>
      trouble !== undefined && trouble.afterBytes <= plan.end - plan.start;
    await sendBody(response, plan, {
      limiters,
      cut: isLongEnough(route.cut) && applies(state, 'cut') ? route.cut : undefined,
      stall: isLongEnough(route.stall) && applies(state, 'stall') ? route.stall : undefined,
      hold: route.hold,
      onSent: (bytes, sentOfAnswer) => {
        stats.bodyBytes += bytes;
        this.#total.bodyBytes += bytes;
        const { become, ...rest } = state.route;
        if (become === undefined || sentOfAnswer < become.afterBytes) return;
        const { afterBytes: _, ...next } = become;
        state.route = { ...rest, ...next };
      },
    });
  }

  #head(
    response: ServerResponse,
    pathname: string,
    { status, headers }: { status: number; headers: Record<string, string> },
  ): void {
    for (const counted of [this.stats(pathname), this.#total]) {
      counted.statuses[status] = (counted.statuses[status] ?? 0) + 1;
    }
    response.writeHead(status, headers);
    response.flushHeaders();
  }

  #refuse(
    response: ServerResponse,
    pathname: string,
    { status, retryAfter }: { status: number; retryAfter?: string },
  ): void {
    const body = `status ${status}\n`;
    const headers: Record<string, string> = { 'content-length': String(body.length) };
    if (retryAfter !== undefined) headers['retry-after'] = retryAfter;
    this.#head(response, pathname, { status, headers });
    response.end(body);
  }

  #count(request: IncomingMessage, path: string): void {
    const { method = 'GET', headers, socket } = request;
    const stats = this.stats(path);
    const sockets = this.#seenOn.get(path) ?? new WeakSet<object>();
    this.#seenOn.set(path, sockets);
    if (!sockets.has(socket)) stats.connections += 1;
    sockets.add(socket);
    const isConditional =
      headers['if-none-match'] !== undefined || headers['if-modified-since'] !== undefined;
    for (const counted of [stats, this.#total]) {
      counted.requests += 1;
      if (method === 'HEAD') counted.heads += 1;
      if (headers.range !== undefined) counted.rangeRequests += 1;
      if (isConditional) counted.conditionalRequests += 1;
    }
    this.seen.push({ method, path, headers });
    if (this.seen.length > KEPT_REQUESTS) this.seen.shift();
  }
}

function refusal(route: Route, request: IncomingMessage): { status: number } | undefined {
  const { search } = new URL(request.url ?? '/', 'http://origin');
  if (route.queries?.includes(search.slice(1)) === false) return { status: 403 };
  if (route.authorization === undefined) return undefined;
  const given = request.headers.authorization;
  if (given === route.authorization) return undefined;
  return { status: given === undefined ? 401 : 403 };
}

/** Whether a trouble of a route still applies; counts it as applied. */
function applies(
  state: RouteState,
  name: 'fail' | 'hang' | 'cut' | 'stall' | 'wrongRange',
): boolean {
  const trouble = state.route[name];
  if (trouble === undefined) return false;
  const applied = state.applied.get(name) ?? 0;
  if (applied >= (trouble.times ?? Infinity)) return false;
  state.applied.set(name, applied + 1);
  return true;
}
