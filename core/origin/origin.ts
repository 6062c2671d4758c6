import { abortReason } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { HttpResponse } from '../net/http-client.ts';
import type { RateLimiter } from '../net/pacing.ts';
import type { OriginAccount, OriginConnections } from './origin-connections.ts';
import { paced } from './paced.ts';
import { firstHop, nextHop } from './request-headers.ts';
import type { Hop, OriginRequest } from './request-headers.ts';
import { describeUrl, headerOf, parseHead } from './response-head.ts';
import type { Asked, OriginHead } from './response-head.ts';
import { planRetry } from './retry-policy.ts';
import type { RetryLimits } from './retry-policy.ts';
import { compareVersions } from './validators.ts';

/** Bounds on dealing with an origin; times in milliseconds. */
export interface OriginLimits extends RetryLimits {
  /** From sending a request to the end of the answer's head. */
  readonly headersTimeoutMs: number;
  /** Without a body byte while somebody is reading. */
  readonly stallTimeoutMs: number;
  readonly maxRedirects: number;
  /** How often one read goes on after a broken body, even when each try brings a few bytes. */
  readonly maxContinuations: number;
}

/** The limits in force unless others are given. */
export const defaultOriginLimits: OriginLimits = {
  headersTimeoutMs: 30_000,
  stallTimeoutMs: 30_000,
  maxRedirects: 10,
  maxContinuations: 1000,
  maxAttempts: 5,
  retryFirstMs: 250,
  retryMaxMs: 10_000,
  maxRetryAfterMs: 60_000,
  retryTotalMs: 180_000,
};

/** A pause before an origin is asked again. */
export interface OriginWait {
  /** What went wrong, in words. */
  readonly reason: string;
  readonly ms: number;
}

/** What a request to an origin works with. */
export interface OriginOptions {
  readonly connections: OriginConnections;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Every body byte passes it before it is handed out. */
  readonly limiter?: RateLimiter | undefined;
  /** As whom it waits for its turn and passes limits; absent: as who says nothing. */
  readonly account?: OriginAccount | undefined;
  readonly signal: AbortSignal;
  readonly limits?: Partial<OriginLimits> | undefined;
  /** Told before each pause, so that whoever waits can say why. */
  readonly onWait?: ((wait: OriginWait) => void) | undefined;
}

/** An answer of an origin; whoever opened it reads the body to its end or closes it. */
export interface OriginBody extends Disposable {
  readonly head: OriginHead;
  /** Ends only after exactly the announced bytes; throws ERR_ORIGIN_SHORT, ERR_ORIGIN_STALLED, ERR_ORIGIN_FAILING. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Ends the connection if the body was not read to its end. */
  close(): void;
}

/**
 * Asks an origin and waits for its head, following redirects and asking again after failures that may pass.
 * Throws ERR_URL, ERR_ORIGIN_REFUSED, ERR_ORIGIN_FORBIDDEN, ERR_ORIGIN_RANGE, ERR_ORIGIN_CHANGED at once,
 * ERR_ORIGIN_FAILING, ERR_ORIGIN_UNREACHABLE, ERR_ORIGIN_STALLED when the attempts are used up.
 */
export async function openOrigin(
  request: OriginRequest,
  options: OriginOptions,
): Promise<OriginBody> {
  const { clock, signal } = options;
  let failedMs: number | undefined;
  for (let failures = 1; ; failures += 1) {
    try {
      signal.throwIfAborted();
      return await openOnce(request, options);
    } catch (error) {
      if (signal.aborted) throw CodedError.from(abortReason(signal));
      const coded = CodedError.from(error);
      // Until then it may have stood in line.
      failedMs ??= clock.monotonic();
      await waitToRetry(coded, { failures, elapsedMs: clock.monotonic() - failedMs }, options);
    }
  }
}

/** Waits as long as the retry policy says; throws `error` itself when it says to give up. */
export async function waitToRetry(
  error: CodedError,
  state: { readonly failures: number; readonly elapsedMs: number },
  options: OriginOptions,
): Promise<void> {
  const { clock, random, log, signal } = options;
  const ms = planRetry(error, state, { limits: limitsOf(options), random });
  if (ms === undefined) throw error;
  log.debug({ code: error.code, attempt: state.failures, ms }, 'origin failed, asking again');
  options.onWait?.({ reason: error.message, ms });
  try {
    await clock.sleep(ms, { signal });
  } catch (reason) {
    throw CodedError.from(reason);
  }
}

/** The limits of these options, defaults filled in. */
export function limitsOf(options: Pick<OriginOptions, 'limits'>): OriginLimits {
  return { ...defaultOriginLimits, ...options.limits };
}

async function openOnce(request: OriginRequest, options: OriginOptions): Promise<OriginBody> {
  const { maxRedirects } = limitsOf(options);
  let hop = firstHop(request);
  for (let redirects = 0; ; redirects += 1) {
    const response = await send(hop, options);
    if (!isRedirect(response.status)) return accept(response, { request, hop, options });
    response.discard();
    if (redirects === maxRedirects) {
      const message = `${describeUrl(hop.url)} is redirect ${redirects + 1} in a row`;
      throw new CodedError('ERR_ORIGIN_FAILING', message, { detail: { final: true } });
    }
    hop = nextHop(hop, headerOf(response.headers, 'location'));
  }
}

async function send(hop: Hop, options: OriginOptions): Promise<HttpResponse> {
  const limits = limitsOf(options);
  return options.connections.request({
    url: hop.url,
    headers: hop.headers,
    headersTimeoutMs: limits.headersTimeoutMs,
    bodyTimeoutMs: limits.stallTimeoutMs,
    account: options.account,
    signal: options.signal,
  });
}

/** True for a status that sends elsewhere, by `Location`. */
export function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status);
}

function accept(
  response: HttpResponse,
  context: { request: OriginRequest; hop: Hop; options: OriginOptions },
): OriginBody {
  const { request, hop, options } = context;
  const asked: Asked = {
    url: hop.url,
    range: request.range,
    isConditional: request.condition !== undefined,
    nowMs: options.clock.now(),
  };
  try {
    const head = parseHead(response, asked);
    if (request.ifMatch !== undefined) requireVersion(request, head);
    if (head.status === 304) response.discard();
    return new OpenOrigin(head, response, options);
  } catch (error) {
    // What comes with a refusal is short; what comes with a wrong range may be the whole content.
    if (response.status >= 400) response.discard();
    else response.close();
    throw error;
  }
}

function requireVersion(request: OriginRequest, head: OriginHead): void {
  const actual = { ...head.validators, length: head.length };
  const verdict = compareVersions(request.ifMatch ?? {}, actual);
  if (verdict === 'same') return;
  const url = describeUrl(new URL(head.url));
  const what =
    verdict === 'changed' ? 'has another version now' : 'no longer says which version it sends';
  throw new CodedError('ERR_ORIGIN_CHANGED', `${url} ${what}`, { detail: { status: head.status } });
}

class OpenOrigin implements OriginBody {
  readonly head: OriginHead;
  readonly #response: HttpResponse;
  readonly #options: OriginOptions;

  constructor(head: OriginHead, response: HttpResponse, options: OriginOptions) {
    this.head = head;
    this.#response = response;
    this.#options = options;
  }

  get body(): AsyncIterable<Uint8Array> {
    return this.head.status === 304 ? nothing() : this.#counted();
  }

  close(): void {
    this.#response.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async *#counted(): AsyncGenerator<Uint8Array, void, undefined> {
    const { rangeStart, rangeEnd } = this.head;
    let offset = rangeStart;
    for await (const chunk of this.#response.body) {
      offset += chunk.length;
      if (rangeEnd !== undefined && offset > rangeEnd) {
        throw this.#error('ERR_ORIGIN_FAILING', `sent more than ${rangeEnd - rangeStart} bytes`);
      }
      yield* paced(chunk, this.#options.limiter, this.#options);
    }
    if (rangeEnd !== undefined && offset < rangeEnd) {
      throw this.#error('ERR_ORIGIN_SHORT', `ended ${rangeEnd - offset} bytes early`);
    }
  }

  #error(code: 'ERR_ORIGIN_FAILING' | 'ERR_ORIGIN_SHORT', what: string): CodedError {
    return new CodedError(code, `${describeUrl(new URL(this.head.url))} ${what}`);
  }
}

async function* nothing(): AsyncGenerator<Uint8Array, void, undefined> {
  yield* [];
}
