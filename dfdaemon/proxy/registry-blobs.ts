import { pipeline } from 'node:stream/promises';
import { LRUCache } from 'lru-cache';
import { abortable } from '../../core/base/clock.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { taskIdOf } from '../../core/piece/task-id.ts';
import type { DownloadRequest } from '../../core/swarm/download-events.ts';
import type { Engine } from '../../core/swarm/engine.ts';
import type { OpenContent } from '../../core/swarm/open-content.ts';
import { planBlobAnswer } from './blob-answer.ts';
import type { BlobAnswer } from './blob-answer.ts';
import { startOfRange } from './blob-range.ts';
import type { BodyStreams } from './body-stream.ts';
import { valueOf } from './forward-headers.ts';
import { isDigest } from './manifest-cache.ts';
import type { AnswerSource, RegistryCounts } from './registry-counts.ts';
import { ownHeaders, upstreamUrl } from './registry-exchange.ts';
import type { RegistryExchange } from './registry-exchange.ts';
import type { UpstreamAnswers } from './upstream-answer.ts';
import type { UpstreamClient } from './upstream-client.ts';

/** The part of the engine that blobs are answered from. */
export interface ContentEngine extends Pick<Engine, 'openContent'> {
  readonly store: { find(task: string): { readonly isComplete: boolean } | undefined };
}

/** What blobs are answered with. */
export interface RegistryBlobsOptions {
  readonly engine: ContentEngine;
  /** What continues from the registry where the mesh fails. */
  readonly bodies: BodyStreams;
  readonly client: Pick<UpstreamClient, 'connections'>;
  readonly upstream: UpstreamAnswers;
  readonly counts: RegistryCounts;
  readonly clock: Clock;
  readonly log: Log;
}

/** A registry that answers takes less; after this time it is asked itself whether it would give the blob at all. */
const SUSPECT_MS = 1_500;
/** After this time without a sign of the content the client is served by the registry itself. */
const OPEN_MS = 10_000;
/** The same while the mesh is known to be slow, so that a pull of many layers waits but once. */
const HURRIED_MS = 2_500;
const REACHED_MS = 60_000;
const MAX_REACHED = 1_000;
/** Method not allowed, not implemented. */
const HEADLESS: ReadonlySet<number> = new Set([405, 501]);
/** The control plane takes no longer header. */
const MAX_AUTHORIZATION = 8192;

/** Content that is open, what it was asked for with, and where it came from by then. */
interface Opened {
  readonly content: OpenContent;
  readonly request: DownloadRequest;
  readonly source: AnswerSource;
}

/** The registry was asked already and did not answer: asking it again would only make the client wait. */
class RegistryGone extends Error {
  override readonly cause: CodedError;

  constructor(cause: unknown) {
    super('the registry does not answer');
    this.cause = CodedError.from(cause);
  }
}

/**
 * Blobs by digest. The mesh knows a blob by its digest alone, and asks the registry with the client's own credentials
 * whether he may have it. Until the first byte of an answer is there nothing is promised to the client: whatever goes
 * wrong before, he gets the very answer of the registry.
 */
export class RegistryBlobs {
  readonly #options: RegistryBlobsOptions;
  /** The last blob that was asked of the mesh did not come in time. */
  #isMeshLate = false;

  /** Registries that users of other hosts were let through to a short time ago. */
  readonly #reached: LRUCache<string, true>;

  /** When registries last answered anybody, monotonic ms. */
  readonly #answered = new LRUCache<string, number>({ max: MAX_REACHED });

  constructor(options: RegistryBlobsOptions) {
    this.#options = options;
    const perf = { now: () => options.clock.monotonic() };
    this.#reached = new LRUCache({ max: MAX_REACHED, ttl: REACHED_MS, perf });
  }

  /** Resolves with where the answer came from, once it is sent. */
  async answer(exchange: RegistryExchange, digest: string): Promise<'mesh' | 'direct'> {
    const { headers, method } = exchange.request;
    const isLong = (valueOf(headers, 'authorization') ?? '').length > MAX_AUTHORIZATION;
    if (method === 'HEAD' || !isDigest(digest) || isLong) return this.#passOn(exchange);
    await this.#requireReach(exchange);
    try {
      if (await this.#fromMesh(exchange, digest)) return 'mesh';
    } catch (error) {
      if (error instanceof RegistryGone) throw error.cause;
      const { code, message } = CodedError.from(error);
      if (exchange.signal.aborted || exchange.response.headersSent) throw error;
      this.#options.log.debug({ code, reason: message, digest }, 'asking the registry for a blob');
    }
    return this.#passOn(exchange);
  }

  /** Throws ERR_ORIGIN_FORBIDDEN for a user of another host who may not reach the registry, though the engine may. */
  async #requireReach(exchange: RegistryExchange): Promise<void> {
    const { origin } = exchange.upstream;
    if (exchange.user === 'local' || this.#reached.has(origin)) return;
    const answer = await this.#options.upstream.ask(exchange, 'HEAD');
    answer.discard();
    this.#reached.set(origin, true);
  }

  async #passOn(exchange: RegistryExchange): Promise<'direct'> {
    const { upstream } = this.#options;
    const answer = await upstream.ask(exchange);
    this.#noteAnswer(exchange);
    await upstream.passOn(answer, exchange, 'blob');
    return 'direct';
  }

  /** False, or an error before anything is sent, when the registry had better answer itself. */
  async #fromMesh(exchange: RegistryExchange, digest: string): Promise<boolean> {
    const { priority, request: asked } = exchange;
    const { headers } = asked;
    const [range, authorization] = [valueOf(headers, 'range'), valueOf(headers, 'authorization')];
    const request: DownloadRequest = {
      url: upstreamUrl(exchange),
      digest,
      ...(priority === undefined ? {} : { priority }),
      ...(authorization === undefined ? {} : { headers: { authorization } }),
    };
    const stored = this.#options.engine.store.find(taskIdOf(request));
    const source = stored?.isComplete === true ? 'cache' : 'mesh';
    await using content = await this.#open(request, exchange);
    // What part is asked for cannot be told yet.
    if (content.length === undefined && range !== undefined) return false;
    const plan = planBlobAnswer(
      {
        range,
        ifRange: valueOf(headers, 'if-range'),
        ifNoneMatch: valueOf(headers, 'if-none-match'),
      },
      { digest, length: content.length },
    );
    await this.#send(exchange, plan, { content, request, source });
    return true;
  }

  /**
   * What the mesh makes of the request. While that takes its time the registry is asked whether it would give the blob
   * at all; a registry that does not answer is a `RegistryGone`, anything else that is thrown had better be asked of it.
   */
  async #open(request: DownloadRequest, exchange: RegistryExchange): Promise<OpenContent> {
    const { clock, engine } = this.#options;
    const over = new AbortController();
    const signal = AbortSignal.any([exchange.signal, over.signal]);
    const opening = engine.openContent(request, {
      signal,
      readFrom: startOfRange(valueOf(exchange.request.headers, 'range')) ?? 0,
    });
    const startMs = clock.monotonic();
    const suspicion = clock.after(SUSPECT_MS, () => {
      this.#isRefused(exchange, signal).then(
        (isRefused) => {
          if (isRefused) over.abort(new CodedError('ERR_ORIGIN_REFUSED', 'the registry says no'));
        },
        (error: unknown) => over.abort(new RegistryGone(error)),
      );
    });
    const isHurried = this.#isMeshLate;
    const patienceMs = isHurried ? HURRIED_MS : OPEN_MS;
    const patience = clock.after(patienceMs, () => {
      this.#isMeshLate = true;
      const late = new CodedError('ERR_TIMEOUT', `nothing came of it within ${patienceMs} ms`);
      // Others are answered: in a long line it is only this one's turn that has not come.
      const isAnswering = (this.#answered.get(exchange.upstream.origin) ?? 0) > startMs;
      over.abort(isAnswering || isHurried ? late : new RegistryGone(late));
    });
    try {
      const content = await abortable(opening, signal);
      this.#isMeshLate = false;
      return content;
    } catch (error) {
      opening.then(async (late) => late[Symbol.asyncDispose]()).catch(() => undefined);
      throw error;
    } finally {
      suspicion.cancel();
      patience.cancel();
    }
  }

  async #isRefused(exchange: RegistryExchange, signal: AbortSignal): Promise<boolean> {
    const answer = await this.#options.upstream.ask({ ...exchange, signal }, 'HEAD');
    answer.discard();
    this.#noteAnswer(exchange);
    // Some registries do not answer HEAD for blobs, and say nothing of the blob by that.
    return answer.status >= 400 && !HEADLESS.has(answer.status);
  }

  #noteAnswer({ upstream }: RegistryExchange): void {
    this.#answered.set(upstream.origin, this.#options.clock.monotonic());
  }

  async #send(exchange: RegistryExchange, plan: BlobAnswer, from: Opened): Promise<void> {
    const { response, signal } = exchange;
    const { counts } = this.#options;
    const chunks = this.#chunks(plan, from, exchange);
    try {
      // The head promises what follows, so it waits for the first bytes.
      const first = await chunks.next();
      response.writeHead(plan.status, { ...ownHeaders(exchange), ...plan.headers });
      counts.answered('blob', from.source);
      if (first.done === true) {
        response.end();
        return;
      }
      const all = async function* all(): AsyncGenerator<Uint8Array> {
        yield first.value;
        yield* chunks;
      };
      await pipeline(all, response, { signal });
    } finally {
      await chunks.return(undefined);
    }
  }

  async *#chunks(
    { body }: BlobAnswer,
    { content, request, source }: Opened,
    { user, signal }: RegistryExchange,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { bodies, client, counts, log } = this.#options;
    // Sent with the content that follows: words alone would promise what may not come.
    let words = '';
    for (const part of body) {
      if ('text' in part) {
        words += part.text;
        continue;
      }
      const { start, end } = part;
      const range = Number.isFinite(end) ? { start, end } : { start };
      const connections = client.connections(user);
      const stream = bodies.body({ content, request, range, connections }, { signal });
      try {
        for await (const chunk of stream) {
          yield words === '' ? chunk : Buffer.concat([Buffer.from(words), chunk]);
          words = '';
        }
      } finally {
        const { fromMesh, direct } = stream.report;
        counts.sent('blob', source, fromMesh);
        counts.sent('blob', 'direct', direct);
        log.debug({ task: content.task, source, start, fromMesh, direct }, 'blob sent');
      }
    }
    if (words !== '') yield Buffer.from(words);
  }
}
