import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { RateLimiter } from '../../core/net/pacing.ts';
import type { ProxyAccess } from './access.ts';
import type { BodyStreams } from './body-stream.ts';
import { refuseLoop } from './forward-headers.ts';
import type { ForwardedRequest } from './forward-proxy.ts';
import { RegistryBlobs } from './registry-blobs.ts';
import type { ContentEngine } from './registry-blobs.ts';
import type { RegistryCounts } from './registry-counts.ts';
import { answerRegistryError } from './registry-error.ts';
import { ownHeaders } from './registry-exchange.ts';
import type { RegistryExchange } from './registry-exchange.ts';
import { RegistryManifests } from './registry-manifests.ts';
import { blobOfUrl, parseRegistryUrl } from './registry-path.ts';
import type { RegistryAsk } from './registry-path.ts';
import type { LoginFile } from './login-file.ts';
import { RegistrySignIn } from './registry-sign-in.ts';
import type { Upstreams } from './registry-upstreams.ts';
import { UpstreamAnswers } from './upstream-answer.ts';
import { UpstreamClient } from './upstream-client.ts';
import { UpstreamRights } from './upstream-rights.ts';

/** What a mirror is made of. */
export interface RegistryMirrorOptions {
  readonly upstreams: Upstreams;
  readonly engine: ContentEngine;
  readonly counts: RegistryCounts;
  readonly bodies: BodyStreams;
  readonly access: Pick<ProxyAccess, 'admit' | 'checkFor'>;
  /** The name of this program in `Via`, by which a request that comes round in a circle is known. */
  readonly via: string;
  /** Of what comes from registries; absent: no limit. */
  readonly originLimiter?: RateLimiter | undefined;
  /** What this host is at registries, for clients that send no login of their own; absent: nothing. */
  readonly logins?: Pick<LoginFile, 'current'> | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * The pull side of the registry protocol for any registry: blobs through the mesh, manifests by digest from memory,
 * all else passed through in the client's words and with his credentials.
 */
export class RegistryMirror implements AsyncDisposable {
  readonly #options: RegistryMirrorOptions;
  readonly #client: UpstreamClient;
  readonly #upstream: UpstreamAnswers;
  readonly #blobs: RegistryBlobs;
  readonly #manifests: RegistryManifests;
  readonly #signIn: RegistrySignIn | undefined;

  constructor(options: RegistryMirrorOptions) {
    this.#options = options;
    const { access, counts, clock, log, logins: file } = options;
    this.#client = new UpstreamClient({ access, clock });
    this.#upstream = new UpstreamAnswers({ ...options, client: this.#client, counts });
    const client = this.#client;
    this.#signIn = file && new RegistrySignIn({ file, client, clock, log });
    const parts = { ...options, client: this.#client, upstream: this.#upstream };
    this.#blobs = new RegistryBlobs(parts);
    this.#manifests = new RegistryManifests({ ...parts, rights: new UpstreamRights(clock) });
  }

  /** Answers a request for `/v2` or below; what goes wrong is in the answer, or ends the connection. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => {
      gone.abort(new CodedError('ERR_INTERRUPTED', 'the client went away'));
    });
    try {
      await this.#answer({ request, response, signal: gone.signal });
    } catch (error) {
      this.#fail(error, { response, signal: gone.signal });
    }
  }

  /**
   * Answers a request of the forward proxy for a blob at a registry's own URL as if it had come to the mirror; false,
   * with nothing done, for any other URL. What goes wrong is in the answer, or ends the connection.
   */
  async answerBlob(forwarded: ForwardedRequest): Promise<'mesh' | 'direct' | 'failed' | false> {
    const { url, method, headers, response, user, priority, signal } = forwarded;
    const ask = method === 'GET' ? blobOfUrl(url) : undefined;
    if (ask === undefined) return false;
    const { upstream, digest } = ask;
    const request = { method, headers };
    const exchange = { ask, upstream, user, priority, request, response, signal };
    try {
      return await this.#blobs.answer(exchange, digest);
    } catch (error) {
      this.#fail(error, exchange);
      return 'failed';
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }

  async #answer(asked: {
    readonly request: IncomingMessage;
    readonly response: ServerResponse;
    readonly signal: AbortSignal;
  }): Promise<void> {
    const { request } = asked;
    refuseMethod(request.method);
    refuseLoop(request.headers, this.#options.via);
    const ask = parseRegistryUrl(request.url ?? '', this.#options.upstreams);
    const { upstream, target } = ask;
    if (upstream === undefined) {
      if (target.kind === 'ping') return answerPing(ask, asked);
      const message = 'no registry is named: by ?ns=, by the path, or by --registry';
      throw new CodedError('ERR_NOT_FOUND', message);
    }
    const user = this.#options.access.admit(request.socket);
    const exchange = { ...asked, ask, upstream, user };
    await this.#answerFor((await this.#signIn?.signed(exchange)) ?? exchange);
  }

  async #answerFor(exchange: RegistryExchange): Promise<void> {
    const { target } = exchange.ask;
    switch (target.kind) {
      case 'blob':
        await this.#blobs.answer(exchange, target.digest);
        return;
      case 'manifest':
        return this.#manifests.answer(exchange, target.reference);
      case 'ping':
      case 'other':
        return this.#upstream.passOn(await this.#upstream.ask(exchange), exchange, 'other');
    }
  }

  #fail(error: unknown, { response, signal }: Pick<RegistryExchange, 'response' | 'signal'>): void {
    // Engines hang up early as a matter of course.
    if (signal.aborted) {
      response.destroy();
      return;
    }
    const { counts, log } = this.#options;
    const { code, message } = CodedError.from(error);
    if (code === 'ERR_INTERNAL') log.error({ err: error }, 'a registry request failed');
    else log.debug({ code, reason: message }, 'a registry request failed');
    counts.answered('other', 'failed');
    answerRegistryError(response, error);
  }
}

/** Pushes belong to the registry: a mirror that took them would have to be one. */
function refuseMethod(method: string | undefined): void {
  if (method === 'GET' || method === 'HEAD') return;
  throw new CodedError('ERR_REQUEST', 'this mirror is for pulls: push to the registry itself', {
    detail: { method: method ?? '' },
  });
}

/** Nobody is there to be asked, so clients are told that the protocol is spoken; each registry asks for credentials itself. */
function answerPing(
  ask: RegistryAsk,
  { request, response }: Pick<RegistryExchange, 'request' | 'response'>,
): void {
  const body = '{}';
  response.writeHead(200, {
    ...ownHeaders({ ask }),
    'content-type': 'application/json',
    'content-length': body.length,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}
