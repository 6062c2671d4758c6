// What the mirror itself is at registries: clients that know no login for a mirror (podman and all that use its
// library) still get what its operator may have. Only programs on this host do, and only where they asked for this host
// by an address of its own: a web page that has a name of its own point here would be neither.
import { isIP } from 'node:net';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../core/base/clock.ts';
import { Coalescer } from '../../core/base/coalescer.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { HttpResponse } from '../../core/net/http-client.ts';
import { headerOf } from '../../core/origin/response-head.ts';
import { answerChallenge, parseChallenge } from '../../core/registry/registry-auth.ts';
import type { Credentials, Login } from '../../core/registry/registry-auth.ts';
import { valueOf } from './forward-headers.ts';
import type { Headers } from './forward-headers.ts';
import type { LoginFile } from './login-file.ts';
import type { RegistryExchange } from './registry-exchange.ts';
import type { UpstreamClient } from './upstream-client.ts';

/** What the mirror signs in with. */
export interface RegistrySignInOptions {
  readonly file: Pick<LoginFile, 'current'>;
  readonly client: Pick<UpstreamClient, 'ask'>;
  readonly clock: Clock;
  readonly log: Log;
}

const MAX_KNOWN = 10_000;
const MAX_TOKEN_BYTES = 128 * 1024;
/** A password is asked for again after this time, a token after this part of its own, at most an hour. */
const MOST_MS = 3_600_000;
const USED_PART = 0.8;
/** After a registry or its token server failed: for so long its own answer, whatever it is, is passed on. */
const FAILED_MS = 10_000;

/** Signs requests that carry no login with the one that this host has for the registry. */
export class RegistrySignIn {
  readonly #options: RegistrySignInOptions;
  /** Authorization by registry and repository; `''`: it wants none, or could not be asked. */
  readonly #known: LRUCache<string, string>;
  readonly #asking = new Coalescer<string>();

  constructor(options: RegistrySignInOptions) {
    this.#options = options;
    const perf = { now: () => options.clock.monotonic() };
    this.#known = new LRUCache({ max: MAX_KNOWN, ttl: MOST_MS, perf });
  }

  /**
   * The same with this host's Authorization, where it has a login for the registry, the client sent none and may use
   * it. Throws only the abort: what fails is logged, and the registry's own answer to the client says the rest.
   */
  async signed(exchange: RegistryExchange): Promise<RegistryExchange> {
    const { request, user, upstream, ask, signal } = exchange;
    if (user !== 'local' || 'authorization' in request.headers || !isByAddress(request.headers)) {
      return exchange;
    }
    const { logins, version } = await this.#options.file.current();
    const repository = 'name' in ask.target ? (ask.target.name ?? '') : '';
    const credentials = logins.find(upstream.name, repository);
    if (credentials === undefined) return exchange;
    const key = `${version} ${upstream.origin} ${repository}`;
    const authorization =
      this.#known.get(key) ??
      (await this.#asking.run(
        key,
        async (own) => this.#ask({ key, exchange, repository, credentials }, own),
        { signal },
      ));
    if (authorization === '') return exchange;
    const headers = { ...request.headers, authorization };
    const onRefused = (): void => void this.#known.delete(key);
    return { ...exchange, request: { method: request.method, headers }, onRefused };
  }

  async #ask(
    about: {
      readonly key: string;
      readonly exchange: RegistryExchange;
      readonly repository: string;
      readonly credentials: Credentials;
    },
    signal: AbortSignal,
  ): Promise<string> {
    const { key, exchange } = about;
    try {
      const { authorization, seconds } = (await this.#login(about, signal)) ?? NO_LOGIN;
      const ttl = Math.min(MOST_MS, seconds === undefined ? MOST_MS : seconds * 1_000 * USED_PART);
      // One that ends at once is good for this request.
      if (ttl >= 1) this.#known.set(key, authorization, { ttl });
      return authorization;
    } catch (error) {
      if (signal.aborted) throw error;
      const { code, message } = CodedError.from(error);
      const registry = exchange.upstream.name;
      this.#options.log.warn({ registry, code, reason: message }, 'cannot sign in to a registry');
      this.#known.set(key, '', { ttl: FAILED_MS });
      return '';
    }
  }

  /** Asks the registry how it wants to be asked, and does what it says; undefined where it asks for nothing. */
  async #login(
    about: {
      readonly exchange: RegistryExchange;
      readonly repository: string;
      readonly credentials: Credentials;
    },
    signal: AbortSignal,
  ): Promise<Login | undefined> {
    const { exchange, repository, credentials } = about;
    const { client } = this.#options;
    const { user, upstream } = exchange;
    const get = async (url: string, headers: Readonly<Record<string, string>>) =>
      client.ask({ url, method: 'GET', headers, user }, { signal });
    const answer = await get(`${upstream.origin}/v2/`, {});
    answer.discard();
    if (answer.status !== 401) return undefined;
    const challenge = parseChallenge(headerOf(answer.headers, 'www-authenticate') ?? '');
    if (challenge === undefined) {
      throw new CodedError('ERR_ORIGIN_REFUSED', 'the registry wants a login of an unknown kind');
    }
    const image = { base: upstream.origin, repository };
    const ask = async (url: string, headers: Readonly<Record<string, string>>): Promise<string> =>
      textOf(await get(url, headers));
    return answerChallenge(challenge, { image, credentials, ask }, { signal });
  }
}

const NO_LOGIN: Login = { authorization: '', seconds: undefined };

/** The client named this host by an address, or as `localhost`. */
function isByAddress(headers: Headers): boolean {
  const host = URL.parse(`http://${valueOf(headers, 'host') ?? ''}`)?.hostname ?? '';
  return host === 'localhost' || isIP(host.replace(/^\[|\]$/g, '')) !== 0;
}

async function textOf(answer: HttpResponse): Promise<string> {
  if (answer.status !== 200) {
    answer.discard();
    throw new CodedError('ERR_ORIGIN_REFUSED', 'the token server of the registry refused', {
      detail: { status: answer.status },
    });
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of answer.body) {
    bytes += chunk.length;
    if (bytes > MAX_TOKEN_BYTES) {
      throw new CodedError('ERR_ORIGIN_FAILING', 'the token server of the registry says too much');
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
