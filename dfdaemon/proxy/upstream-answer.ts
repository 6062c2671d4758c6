import { pipeline } from 'node:stream/promises';
import type { HttpResponse } from '../../core/net/http-client.ts';
import type { RateLimiter } from '../../core/net/pacing.ts';
import { limitedBody } from './limited-body.ts';
import { answerHeaders, requestHeaders } from './forward-headers.ts';
import type { AnswerKind, RegistryCounts } from './registry-counts.ts';
import { ownHeaders, upstreamUrl } from './registry-exchange.ts';
import type { RegistryExchange } from './registry-exchange.ts';
import type { UpstreamClient } from './upstream-client.ts';

/** Asks registries in the words of clients, and passes on what they say. */
export class UpstreamAnswers {
  readonly #client: UpstreamClient;
  readonly #counts: RegistryCounts;
  readonly #via: string;
  readonly #limiter: RateLimiter | undefined;

  /** `via` is the name of this program in the header of that name. */
  constructor(options: {
    readonly client: UpstreamClient;
    readonly counts: RegistryCounts;
    readonly via: string;
    /** Of blobs that come from registries. */
    readonly originLimiter?: RateLimiter | undefined;
  }) {
    this.#client = options.client;
    this.#counts = options.counts;
    this.#via = options.via;
    this.#limiter = options.originLimiter;
  }

  /** Asks what the client asked, by default in the same way; the answer's body is unread. Errors as those of `UpstreamClient.ask`. */
  async ask(
    exchange: RegistryExchange,
    method: 'GET' | 'HEAD' = exchange.request.method === 'HEAD' ? 'HEAD' : 'GET',
  ): Promise<HttpResponse> {
    const { user, signal } = exchange;
    const headers = requestHeaders(exchange.request.headers, { via: this.#via });
    delete headers['content-length'];
    // What is kept, verified and cut into ranges is what the registry stores.
    headers['accept-encoding'] = 'identity';
    const request = { url: upstreamUrl(exchange), method, headers, user };
    const answer = await this.#client.ask(request, { signal });
    if (answer.status === 401) exchange.onRefused?.();
    return answer;
  }

  /** Passes the very answer on: status, headers and body. Throws what ends the body before its end. */
  async passOn(answer: HttpResponse, exchange: RegistryExchange, kind: AnswerKind): Promise<void> {
    const { ask, request, response, signal } = exchange;
    const headers = {
      ...answerHeaders(answer.headers, { via: this.#via }),
      ...ownHeaders(exchange),
    };
    const { link } = headers;
    if (typeof link === 'string') headers['link'] = link.replaceAll('</v2/', `<${ask.prefix}`);
    const isHead = request.method === 'HEAD';
    // A registry is known that gives the length of the content with the few words of a 416.
    if (answer.status === 416) headers['content-length'] = '0';
    response.writeHead(answer.status, headers);
    this.#counts.answered(kind, 'direct');
    if (isHead || answer.status === 304 || answer.status === 416) {
      answer.close();
      response.end();
      return;
    }
    response.flushHeaders();
    const { priority } = exchange;
    const limiter = kind === 'blob' ? this.#limiter : undefined;
    const body = limitedBody(answer.body, limiter, { priority, signal });
    await pipeline(this.#counted(body, kind), response, { signal });
  }

  async *#counted(body: AsyncIterable<Uint8Array>, kind: AnswerKind): AsyncGenerator<Uint8Array> {
    for await (const chunk of body) {
      this.#counts.sent(kind, 'direct', chunk.length);
      yield chunk;
    }
  }
}
