import type { LookupFunction } from 'node:net';
import type { Clock } from '../base/clock.ts';
import type { HttpClient, HttpRequest, HttpResponse } from '../net/http-client.ts';
import type { AddressGuard } from './address-guard.ts';

/** How to connect to origins; times in milliseconds. */
export interface OriginConnectionsOptions {
  readonly guard: Pick<AddressGuard, 'check'>;
  readonly clock: Clock;
  /** Requests in flight, and so sockets, to one scheme, host and port; further ones wait. Default 8. */
  readonly connectionsPerHost?: number;
  /** Requests waiting for one scheme, host and port; past it ERR_BUSY. Default 256. */
  readonly maxWaitingPerHost?: number;
  /** Default 10,000. */
  readonly connectTimeoutMs?: number;
  /** PEM certificates to trust instead of the system's. */
  readonly ca?: string | readonly string[];
  readonly lookup?: LookupFunction;
}

/** The connections of one thread to all origins, each checked by one guard; the HTTP library is loaded on first use. */
export class OriginConnections implements AsyncDisposable {
  readonly #options: OriginConnectionsOptions;
  #client: Promise<HttpClient> | undefined;

  constructor(options: OriginConnectionsOptions) {
    this.#options = options;
  }

  /** Sends one request; errors as those of `HttpClient.request`. */
  async request(request: HttpRequest): Promise<HttpResponse> {
    this.#client ??= this.#open();
    const client = await this.#client;
    return client.request(request);
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
    const { guard, ...options } = this.#options;
    return new Client({ ...options, checkAddress: (ip, port) => guard.check(ip, port) });
  }
}
