import type { LookupFunction } from 'node:net';
import { blobHost, isBlobUrl } from '../base/blob-url.ts';
import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { HttpClient, HttpRequest, HttpResponse } from '../net/http-client.ts';
import type { Account } from '../net/fair-line.ts';
import type { RateLimiter } from '../net/pacing.ts';
import type { AddressGuard } from './address-guard.ts';
import { paced } from './paced.ts';
import { parseRetryAfter } from './retry-policy.ts';

/** As whom a request waits for its turn, and its bytes pass limits; its class may be raised on the way. */
export type OriginAccount = Account;

/** Leave to send one request to a host. */
export interface OriginLeave {
  /** Every byte of the answer's body passes it. */
  readonly limiter: RateLimiter;
  /** The answer was read to its end, or will not be; `restMs`: how long its sender asked to be left alone. */
  end(restMs?: number): void;
}

/** Says when which host may be asked, for all threads of this program together. */
export interface OriginDoor {
  /** Resolves when it may be; ERR_BUSY when too many wait, or the reason of the signal. */
  enter(
    host: string,
    as: { readonly account: OriginAccount | undefined; readonly signal: AbortSignal },
  ): Promise<OriginLeave>;
}

/** A request to an origin. */
export interface OriginCall extends HttpRequest {
  readonly account?: OriginAccount | undefined;
}

/** How to connect to origins; times in milliseconds. */
export interface OriginConnectionsOptions {
  readonly guard: Pick<AddressGuard, 'check'>;
  readonly clock: Clock;
  /** Passed before each request, redirects and repetitions too; absent: they are bounded here alone. */
  readonly door?: OriginDoor | undefined;
  /** Requests in flight, and so sockets, to one scheme, host and port; further ones wait. Default 8. */
  readonly connectionsPerHost?: number | ((hostname: string) => number);
  /** Requests waiting for one scheme, host and port; past it ERR_BUSY. Default 256. */
  readonly maxWaitingPerHost?: number;
  /** Default 10,000. */
  readonly connectTimeoutMs?: number;
  /** PEM certificates to trust instead of the system's. */
  readonly ca?: string | readonly string[];
  readonly lookup?: LookupFunction;
  /** The Unix socket of the blobs of this supernode; absent: blobs are refused, as everywhere else. */
  readonly blobSocket?: string | undefined;
}

/** Statuses with which a server says "not now". */
const BUSY_STATUSES: ReadonlySet<number> = new Set([429, 503]);

/** The connections of one thread to all origins, each checked by one guard; the HTTP library is loaded on first use. */
export class OriginConnections implements AsyncDisposable {
  readonly #options: OriginConnectionsOptions;
  #client: Promise<HttpClient> | undefined;

  constructor(options: OriginConnectionsOptions) {
    this.#options = options;
  }

  /** Sends one request when its turn has come; errors as those of `HttpClient.request`, and of the door. */
  async request(call: OriginCall): Promise<HttpResponse> {
    if (isBlobUrl(call.url) && this.#blobSocketOf(call.url) === undefined) throw noBlobs(call.url);
    this.#client ??= this.#open();
    const client = await this.#client;
    const { door, clock } = this.#options;
    if (door === undefined) return client.request(call);
    const { account, signal, url } = call;
    const leave = await door.enter(url.hostname, { account, signal });
    try {
      let restMs: number | undefined;
      const response = await client.request({ ...call, onClosed: () => leave.end(restMs) });
      const told = response.headers['retry-after'];
      if (BUSY_STATUSES.has(response.status) && typeof told === 'string') {
        restMs = parseRetryAfter(told, clock.now());
      }
      return new PacedResponse(response, leave.limiter, { signal, account });
    } catch (error) {
      leave.end();
      throw error;
    }
  }

  /** Ends all connections; requests in flight fail with ERR_INTERRUPTED. */
  async close(): Promise<void> {
    const client = await this.#client;
    await client?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #open(): Promise<HttpClient> {
    // An idle program never pays for the library's memory and start-up time.
    const { HttpClient: Client } = await import('../net/http-client.ts');
    const { guard, door: _door, blobSocket: _socket, ...options } = this.#options;
    return new Client({
      ...options,
      checkAddress: (ip, port) => guard.check(ip, port),
      socketOf: (origin) => this.#blobSocketOf(origin),
    });
  }

  /** Whose name leads to a socket: no name server is asked, and no guard, since nobody else listens there. */
  #blobSocketOf(url: URL): string | undefined {
    const isPlain = url.protocol === 'http:' && url.port === '';
    return isPlain && isBlobUrl(url) ? this.#options.blobSocket : undefined;
  }
}

function noBlobs(url: URL): CodedError {
  const message = `${blobHost} is nowhere to connect to: blobs come from the supernode, through the mesh`;
  return new CodedError('ERR_ORIGIN_FORBIDDEN', message, { detail: { host: url.host } });
}

/** An answer whose body comes at the rate of its host. */
class PacedResponse implements HttpResponse {
  readonly status: number;
  readonly headers: HttpResponse['headers'];
  readonly #response: HttpResponse;
  readonly #limiter: RateLimiter;
  readonly #as: { readonly signal: AbortSignal; readonly account: OriginAccount | undefined };

  constructor(
    response: HttpResponse,
    limiter: RateLimiter,
    as: { readonly signal: AbortSignal; readonly account: OriginAccount | undefined },
  ) {
    this.status = response.status;
    this.headers = response.headers;
    this.#response = response;
    this.#limiter = limiter;
    this.#as = as;
  }

  get body(): AsyncIterable<Uint8Array> {
    return this.#paced();
  }

  discard(): void {
    this.#response.discard();
  }

  close(): void {
    this.#response.close();
  }

  async *#paced(): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of this.#response.body) yield* paced(chunk, this.#limiter, this.#as);
  }
}
