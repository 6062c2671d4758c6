import { isIP } from 'node:net';
import type { LookupFunction, Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { Agent, Pool, buildConnector } from 'undici';
import type { Dispatcher } from 'undici';
import { LinkedAbort } from '../base/clock.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { Limiter } from '../base/limiter.ts';
import type { Slot } from '../base/limiter.ts';
import { guardedLookup, lookupBySystem } from './guarded-lookup.ts';
import { codedError, connectTimeout, stalled, unreachable } from './http-error.ts';

/** How a client connects; times in milliseconds. */
export interface HttpClientOptions {
  /** Asked with every resolved address right before each connect, so a name that changes its mind gains nothing; throws to refuse. */
  readonly checkAddress: (ip: string, port: number) => void;
  readonly clock: Clock;
  /** Requests in flight, and so sockets, to one scheme, host and port; further ones wait. Default 8. */
  readonly connectionsPerHost?: number | ((hostname: string) => number);
  /** Requests waiting for one scheme, host and port; past it ERR_BUSY. Default 256. */
  readonly maxWaitingPerHost?: number;
  /** Name lookup, TCP and TLS handshake together. Default 10,000. */
  readonly connectTimeoutMs?: number;
  /** How long an unused connection is kept. Default 4,000. */
  readonly idleTimeoutMs?: number;
  /** PEM certificates to trust instead of the system's. */
  readonly ca?: string | readonly string[];
  readonly lookup?: LookupFunction;
  /** A Unix socket that leads to this scheme, host and port instead of a name and a port. */
  readonly socketOf?: ((origin: URL) => string | undefined) | undefined;
}

/** Header names in lower case. */
export type HttpHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** One request; no redirect is followed and nothing is decompressed. */
export interface HttpRequest {
  readonly url: URL;
  /** Default GET. */
  readonly method?: string;
  /** Names in lower case. `accept-encoding: identity` is sent unless another one is given. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | Readable;
  /** Longest wait for the answer's head, connecting included, waiting for a free connection not. Default 30,000. */
  readonly headersTimeoutMs?: number;
  /** Longest time without a body byte while somebody is waiting for one. Default 30,000. */
  readonly bodyTimeoutMs?: number;
  /** Called once the body of an answer was read to its end or closed; never when the request fails. */
  readonly onClosed?: (() => void) | undefined;
  readonly signal: AbortSignal;
}

/** An answer whose body has not been read; whoever got it reads the body to its end, discards or closes it. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: HttpHeaders;
  /** Throws ERR_ORIGIN_SHORT, ERR_ORIGIN_STALLED or ERR_ORIGIN_FAILING; leaving it early closes the connection. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Drops the body: a small one is read away so that the connection can be used again. */
  discard(): void;
  /** Ends the connection if the body was not read to its end. */
  close(): void;
}

const DEFAULT_CONNECTIONS = 8;
const DEFAULT_TIMEOUT_MS = 30_000;
/** A body up to this length is cheaper to read away than a new connection is to make. */
const DISCARD_BYTES = 64 * 1024;

/** Pooled HTTP/1.1 connections; never a proxy from the environment. */
export class HttpClient implements AsyncDisposable {
  readonly #agent: Agent;
  readonly #options: HttpClientOptions;
  /** By origin; an entry lives while requests do. */
  readonly #hosts = new Map<string, Limiter>();
  /** True in the turn of the loop in which a request ended. */
  #isFreeing = false;
  #closing: Promise<void> | undefined;

  constructor(options: HttpClientOptions) {
    this.#options = options;
    this.#agent = new Agent({
      pipelining: 1,
      allowH2: false,
      // Its timers tick twice a second and count waiting for a connection: ours are below.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: options.idleTimeoutMs ?? 4000,
      keepAliveMaxTimeout: 30_000,
      // A pool per origin, because the guard needs the port and a lookup is not told it.
      factory: (origin, poolOptions) => {
        const url = new URL(origin);
        const own = { connect: this.#connector(url), connections: this.#connections(url) };
        return new Pool(origin, Object.assign({}, poolOptions, own));
      },
    });
  }

  /** Requests waiting or in flight. */
  get requests(): number {
    let count = 0;
    for (const host of this.#hosts.values()) count += host.active + host.waiting;
    return count;
  }

  /**
   * Sends a request and waits for the head. Throws ERR_ORIGIN_UNREACHABLE, ERR_ORIGIN_FORBIDDEN,
   * ERR_ORIGIN_STALLED, ERR_ORIGIN_FAILING, ERR_BUSY; ERR_INTERRUPTED or ERR_TIMEOUT when aborted.
   */
  async request(request: HttpRequest): Promise<HttpResponse> {
    let slot: Slot | undefined;
    try {
      slot = await this.#acquire(request);
      const held = slot;
      // The library takes a turn of the loop to see that a connection is free; without it there would be another.
      if (this.#isFreeing) await new Promise((resolve) => setImmediate(resolve));
      const answer = await this.#ask(request);
      answer.body.once('close', () => {
        this.#release(request, held);
        request.onClosed?.();
      });
      return new OpenResponse(answer, { request, clock: this.#options.clock });
    } catch (error) {
      this.#release(request, slot);
      throw codedError(error, { request, phase: 'head' });
    }
  }

  /** Ends all connections; requests in flight fail with ERR_INTERRUPTED. */
  async close(): Promise<void> {
    this.#closing ??= this.#agent.destroy();
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #acquire({ url, signal }: HttpRequest): Promise<Slot> {
    const { maxWaitingPerHost = 256 } = this.#options;
    let host = this.#hosts.get(url.origin);
    if (host === undefined) {
      host = new Limiter({ max: this.#connections(url), maxWaiting: maxWaitingPerHost });
      this.#hosts.set(url.origin, host);
    }
    return host.acquire({ signal });
  }

  #connections({ hostname }: URL): number {
    const { connectionsPerHost = DEFAULT_CONNECTIONS } = this.#options;
    return typeof connectionsPerHost === 'number'
      ? connectionsPerHost
      : connectionsPerHost(hostname);
  }

  async #ask(request: HttpRequest): Promise<Dispatcher.ResponseData> {
    const { headersTimeoutMs = DEFAULT_TIMEOUT_MS, signal } = request;
    const asking = new LinkedAbort(signal);
    const onTime = (): void => asking.abort(stalled(request, 'sent no answer in time'));
    const timer = this.#options.clock.after(headersTimeoutMs, onTime, { ref: false });
    try {
      const answer = await this.#agent.request(dispatchOptions(request, asking.signal));
      answer.body.once('close', () => asking[Symbol.dispose]());
      return answer;
    } catch (error) {
      asking[Symbol.dispose]();
      throw error;
    } finally {
      timer.cancel();
    }
  }

  #release({ url }: HttpRequest, slot: Slot | undefined): void {
    slot?.[Symbol.dispose]();
    if (!this.#isFreeing) {
      this.#isFreeing = true;
      setImmediate(() => (this.#isFreeing = false));
    }
    const host = this.#hosts.get(url.origin);
    if (host?.active === 0 && host.waiting === 0) this.#hosts.delete(url.origin);
  }

  #connector(origin: URL): buildConnector.connector {
    const { checkAddress, ca, clock, connectTimeoutMs = 10_000, socketOf } = this.#options;
    const socketPath = socketOf?.(origin);
    const port = Number(origin.port) || (origin.protocol === 'https:' ? 443 : 80);
    const check = (ip: string): void => checkAddress(ip, port);
    const connect = buildConnector({
      allowH2: false,
      // This one, up to a second late, clears the socket away; the timer below gives the answer.
      timeout: connectTimeoutMs,
      lookup: guardedLookup(this.#options.lookup ?? lookupBySystem, check),
      ...(socketPath === undefined ? {} : { socketPath }),
      ...(ca === undefined ? {} : { ca: typeof ca === 'string' ? ca : [...ca] }),
    });
    return (options, callback) => {
      let isSettled = false;
      const settle = (error: Error | null, socket: Socket | null): void => {
        timer.cancel();
        if (isSettled) socket?.destroy();
        else if (error === null && socket !== null) callback(null, socket);
        else callback(unreachable(error ?? new Error('no socket'), origin), null);
        isSettled = true;
      };
      const timer = clock.after(connectTimeoutMs, () => settle(connectTimeout(), null));
      try {
        // An address in the URL is connected to without any lookup.
        if (isIP(options.hostname) !== 0) check(options.hostname);
      } catch (error) {
        queueMicrotask(() =>
          settle(error instanceof Error ? error : new Error(String(error)), null),
        );
        return;
      }
      connect(options, (...[error, socket]) => settle(error, socket));
    };
  }
}

class OpenResponse implements HttpResponse {
  readonly status: number;
  readonly headers: HttpHeaders;
  readonly #body: Dispatcher.ResponseData['body'];
  readonly #request: HttpRequest;
  readonly #clock: Clock;

  constructor(
    answer: Dispatcher.ResponseData,
    { request, clock }: { request: HttpRequest; clock: Clock },
  ) {
    this.status = answer.statusCode;
    this.headers = answer.headers;
    this.#body = answer.body;
    this.#request = request;
    this.#clock = clock;
    // Failures reach whoever iterates; nobody iterating must not end the process.
    this.#body.on('error', () => undefined);
  }

  get body(): AsyncIterable<Uint8Array> {
    return this.#chunks();
  }

  discard(): void {
    const timer = this.#stallTimer();
    this.#body.once('close', () => timer.cancel());
    this.#body.dump({ limit: DISCARD_BYTES }).catch(() => this.close());
  }

  close(): void {
    this.#body.destroy();
  }

  async *#chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    const iterator: AsyncIterator<unknown> = this.#body[Symbol.asyncIterator]();
    try {
      for (;;) {
        const timer = this.#stallTimer();
        const next = await iterator.next().finally(() => timer.cancel());
        if (next.done === true) return;
        if (next.value instanceof Uint8Array) yield next.value;
      }
    } catch (error) {
      throw codedError(error, { request: this.#request, phase: 'body' });
    } finally {
      await iterator.return?.();
    }
  }

  #stallTimer(): Timer {
    const fail = (): void => {
      this.#body.destroy(stalled(this.#request, 'stopped sending'));
    };
    const ms = this.#request.bodyTimeoutMs ?? DEFAULT_TIMEOUT_MS;
    return this.#clock.after(ms, fail, { ref: false });
  }
}

function dispatchOptions(request: HttpRequest, signal: AbortSignal): Dispatcher.RequestOptions {
  const { body } = request;
  return {
    origin: request.url.origin,
    path: request.url.pathname + request.url.search,
    method: request.method ?? 'GET',
    headers: { 'accept-encoding': 'identity', 'user-agent': 'odonata', ...request.headers },
    signal,
    ...(body === undefined ? {} : { body }),
  };
}
