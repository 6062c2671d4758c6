import { pipeline } from 'node:stream/promises';
import type { Clock } from '../../core/base/clock.ts';
import type { HttpResponse } from '../../core/net/http-client.ts';
import type { RateLimiter } from '../../core/net/pacing.ts';
import { OriginConnections } from '../../core/origin/origin-connections.ts';
import type { AdmittedUser, ProxyAccess } from './access.ts';
import { answerHeaders, requestHeaders } from './forward-headers.ts';
import type { ForwardedRequest } from './forward-proxy.ts';
import { limitedBody } from './limited-body.ts';

const CONNECTIONS_PER_HOST = 64;
const MAX_WAITING_PER_HOST = 1024;
/** Clients have deadlines of their own; these only keep what is dead from being held for ever. */
const HEAD_MS = 600_000;
const UPLOAD_MS = 6 * 3_600_000;
const STALL_MS = 600_000;

/** What direct requests work with. */
export interface ForwardDirectOptions {
  readonly access: ProxyAccess;
  readonly clock: Clock;
  readonly via: string;
  /** Of what comes from origins; absent: no limit. */
  readonly originLimiter?: RateLimiter | undefined;
}

/** Passes requests to their origins and the answers back, both streamed, redirects and errors included. */
export class ForwardDirect implements AsyncDisposable {
  readonly #options: ForwardDirectOptions;
  readonly #connections: Readonly<Record<AdmittedUser, OriginConnections>>;

  constructor(options: ForwardDirectOptions) {
    this.#options = options;
    const connections = (user: AdmittedUser): OriginConnections =>
      new OriginConnections({
        guard: { check: options.access.checkFor(user) },
        clock: options.clock,
        connectionsPerHost: CONNECTIONS_PER_HOST,
        maxWaitingPerHost: MAX_WAITING_PER_HOST,
      });
    this.#connections = { local: connections('local'), admitted: connections('admitted') };
  }

  /** To origins, with the guard that holds for this user. */
  connectionsFor(user: AdmittedUser): OriginConnections {
    return this.#connections[user];
  }

  /** Answers with what the origin says; throws what kept it from saying anything. */
  async answer(forwarded: ForwardedRequest): Promise<void> {
    const { request, response, priority, signal } = forwarded;
    const hasBody = hasBodyOf(forwarded);
    const answer = await this.ask(forwarded, {
      headers: requestHeaders(forwarded.headers, this.#options),
      ...(hasBody ? { body: request } : {}),
    });
    response.writeHead(answer.status, answerHeaders(answer.headers, this.#options));
    // The head may be all that the client waits for, long before the first byte of the body.
    response.flushHeaders();
    if (request.method === 'HEAD' || answer.status === 304 || answer.status === 204) {
      answer.discard();
      response.end();
      return;
    }
    const { originLimiter } = this.#options;
    const body = limitedBody(answer.body, originLimiter, { priority, signal });
    await pipeline(body, response, { signal });
  }

  /** One request to the origin of `forwarded`; the answer's body is unread. */
  async ask(
    { url, method, user, signal }: Pick<ForwardedRequest, 'url' | 'method' | 'user' | 'signal'>,
    message: {
      readonly headers: Readonly<Record<string, string>>;
      readonly body?: ForwardedRequest['request'];
    },
  ): Promise<HttpResponse> {
    return this.#connections[user].request({
      url,
      method,
      ...message,
      headersTimeoutMs: message.body === undefined ? HEAD_MS : UPLOAD_MS,
      bodyTimeoutMs: STALL_MS,
      signal,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = Object.values(this.#connections);
    await Promise.all(all.map(async (connections) => connections.close()));
  }
}

function hasBodyOf({ request: { headers } }: ForwardedRequest): boolean {
  if (headers['transfer-encoding'] !== undefined) return true;
  const length = headers['content-length'];
  return length !== undefined && length !== '0';
}
