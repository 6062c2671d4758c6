import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { HttpResponse } from '../../core/net/http-client.ts';
import { isRedirect } from '../../core/origin/origin.ts';
import { OriginConnections } from '../../core/origin/origin-connections.ts';
import { nextHop } from '../../core/origin/request-headers.ts';
import { headerOf } from '../../core/origin/response-head.ts';
import type { AdmittedUser, ProxyAccess } from './access.ts';

/** A request without a body; redirects are followed, with credentials left behind at another origin. */
export interface UpstreamRequest {
  readonly url: string;
  readonly method: 'GET' | 'HEAD';
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Whose rights decide what may be connected to. */
  readonly user: AdmittedUser;
}

const CONNECTIONS_PER_HOST = 64;
const MAX_WAITING_PER_HOST = 4_000;
const CONNECT_MS = 5_000;
/** For the head of one answer; no client that is known has such a deadline, so this one has to end the wait. */
const HEAD_MS = 10_000;
/** For all of it: waiting for a connection, redirects and the head. */
const ANSWER_MS = 20_000;
const STALL_MS = 20_000;
const MAX_REDIRECTS = 10;

/** Asks registries on behalf of clients, wherever these may reach. */
export class UpstreamClient implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #access: Pick<ProxyAccess, 'checkFor'>;
  /** The connections of one kind of users are never used for another. */
  readonly #connections = new Map<AdmittedUser, OriginConnections>();

  constructor(options: { readonly access: Pick<ProxyAccess, 'checkFor'>; readonly clock: Clock }) {
    this.#access = options.access;
    this.#clock = options.clock;
  }

  /**
   * The upstream's answer, body unread; whatever its status. Throws ERR_ORIGIN_UNREACHABLE, ERR_ORIGIN_FORBIDDEN,
   * ERR_ORIGIN_STALLED, ERR_ORIGIN_FAILING, ERR_BUSY, ERR_TIMEOUT; ERR_INTERRUPTED when aborted.
   */
  async ask(
    { url, method, headers, user }: UpstreamRequest,
    options: { readonly signal: AbortSignal },
  ): Promise<HttpResponse> {
    using deadline = this.#clock.deadline(ANSWER_MS);
    const signal = AbortSignal.any([options.signal, deadline.signal]);
    const connections = this.connections(user);
    let hop = { url: new URL(url), headers };
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
      const response = await connections.request({
        ...hop,
        method,
        headersTimeoutMs: HEAD_MS,
        bodyTimeoutMs: STALL_MS,
        signal,
      });
      if (!isRedirect(response.status)) return response;
      response.discard();
      hop = nextHop(hop, headerOf(response.headers, 'location'));
    }
    const message = `${hop.url.host} sends from one place to another without end`;
    throw new CodedError('ERR_ORIGIN_FAILING', message);
  }

  /** The connections that are made for this kind of user. */
  connections(user: AdmittedUser): OriginConnections {
    const known = this.#connections.get(user);
    if (known !== undefined) return known;
    const opened = new OriginConnections({
      guard: { check: this.#access.checkFor(user) },
      clock: this.#clock,
      connectionsPerHost: CONNECTIONS_PER_HOST,
      maxWaitingPerHost: MAX_WAITING_PER_HOST,
      connectTimeoutMs: CONNECT_MS,
    });
    this.#connections.set(user, opened);
    return opened;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const connections of this.#connections.values()) await connections.close();
  }
}
