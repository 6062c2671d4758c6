/**
 * Requests for absolute URLs, and those inside of tunnels that are opened: a rule decides whether one is refused, goes
 * to its origin as it is, or through the mesh. Whatever cannot be shared by all who ask for it goes to the origin.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Priority } from '../../core/base/priority.ts';
import type { Log } from '../../core/base/log.ts';
import type { RateLimiter } from '../../core/net/pacing.ts';
import type { AdmittedUser, ProxyAccess } from './access.ts';
import { ForwardDirect } from './forward-direct.ts';
import { refuseLoop } from './forward-headers.ts';
import { answerError } from './forward-answer.ts';
import type { ForwardCounts, ProxyOutcome } from './forward-counts.ts';
import type { Headers } from './forward-headers.ts';
import type { ForwardMesh } from './forward-mesh.ts';
import type { MirrorHandler, UrlHandler } from './proxy-server.ts';
import type { ProxyRules } from './rules.ts';

/** What the forward proxy works with. */
export interface ForwardProxyOptions {
  readonly access: ProxyAccess;
  /** Compiled on first use where none are configured. */
  readonly rules: () => Promise<ProxyRules>;
  readonly mesh: ForwardMesh;
  /** For blobs of registries that a rule sends through the mesh. */
  readonly mirror?: Pick<MirrorHandler, 'answerBlob'> | undefined;
  readonly counts: ForwardCounts;
  readonly clock: Clock;
  readonly log: Log;
  /** Of what comes from origins; absent: no limit. */
  readonly originLimiter?: RateLimiter | undefined;
  /** What this proxy is called in `Via`; another one must have another name. */
  readonly via: string;
}

/** One request under way, after the rules. */
export interface ForwardedRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly method: string;
  /** As the rule left them. */
  readonly headers: Headers;
  readonly filteredQueryParams: readonly string[];
  readonly priority: Priority | undefined;
  readonly user: AdmittedUser;
  /** Aborts when the client is gone. */
  readonly signal: AbortSignal;
}

/** Answers requests for URLs anywhere. */
export class ForwardProxy implements UrlHandler {
  readonly #options: ForwardProxyOptions;
  readonly #direct: ForwardDirect;
  #rules: Promise<ProxyRules> | undefined;

  constructor(options: ForwardProxyOptions) {
    this.#options = options;
    this.#direct = new ForwardDirect(options);
  }

  async handle(
    exchange: { readonly request: IncomingMessage; readonly response: ServerResponse },
    target: { readonly url: string; readonly user: AdmittedUser },
  ): Promise<void> {
    try {
      this.#options.counts.add(await this.#forward(exchange, target));
    } catch (error) {
      this.#options.counts.add('failed');
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#direct[Symbol.asyncDispose]();
  }

  async #forward(
    exchange: { readonly request: IncomingMessage; readonly response: ServerResponse },
    target: { readonly url: string; readonly user: AdmittedUser },
  ): Promise<ProxyOutcome> {
    const { request, response } = exchange;
    const { method = 'GET', headers } = request;
    refuseLoop(headers, this.#options.via);
    const asked = parseTarget(target.url);
    this.#rules ??= this.#options.rules();
    const rules = await this.#rules;
    const decision = rules.decide({ method, url: asked, headers: withUser(headers, asked) });
    if (decision.to === 'reject') {
      const message = `${decision.rule ?? 'a rule'} of the proxy refuses it`;
      answerError(response, new CodedError('ERR_FORBIDDEN', message));
      return 'reject';
    }
    using gone = signalOf(response);
    const { url, filteredQueryParams, priority } = decision;
    const forwarded: ForwardedRequest = {
      ...exchange,
      url,
      method,
      headers: decision.headers,
      filteredQueryParams,
      priority,
      user: target.user,
      signal: gone.signal,
    };
    try {
      const { mesh, mirror } = this.#options;
      if (decision.to === 'mesh') {
        const blob = await mirror?.answerBlob(forwarded);
        if (typeof blob === 'string') return blob;
        if (await mesh.answer(forwarded, this.#direct)) return 'mesh';
      }
      await this.#direct.answer(forwarded);
    } catch (error) {
      // Nobody is there to be told.
      if (!gone.signal.aborted) throw error;
    }
    return 'direct';
  }
}

/** Throws ERR_URL. */
function parseTarget(text: string): URL {
  const url = text.length > MAX_URL_LENGTH ? null : URL.parse(text);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new CodedError('ERR_URL', 'the proxy takes http and https URLs only');
  }
  url.hash = '';
  return url;
}

const MAX_URL_LENGTH = 16_384;

/** User and password of the URL as the header that they stand for; they leave the URL. */
function withUser(headers: IncomingMessage['headers'], url: URL): IncomingMessage['headers'] {
  const { username, password } = url;
  if (username === '' && password === '') return headers;
  url.username = '';
  url.password = '';
  const plain = `${decode(username)}:${decode(password)}`;
  const authorization = `Basic ${Buffer.from(plain).toString('base64')}`;
  return { authorization, ...headers };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Aborts when the connection ends before the answer does. */
function signalOf(response: ServerResponse): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const look = (): void => {
    if (!response.writableFinished) {
      controller.abort(new CodedError('ERR_INTERRUPTED', 'the client went away'));
    }
  };
  response.once('close', look);
  return { signal: controller.signal, [Symbol.dispose]: () => response.off('close', look) };
}
