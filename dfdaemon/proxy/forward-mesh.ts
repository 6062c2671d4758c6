import { pipeline } from 'node:stream/promises';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { compareVersions } from '../../core/origin/validators.ts';
import type { DownloadRequest } from '../../core/swarm/download-events.ts';
import type { Validators } from '../../core/piece/version.ts';
import type { OpenContent } from '../../core/swarm/open-content.ts';
import { judgeRange } from './blob-range.ts';
import type { ContentPart } from './blob-range.ts';
import type { BodyStreams, WantedBody } from './body-stream.ts';
import type { ForwardDirect } from './forward-direct.ts';
import { answerHeaders, valueOf } from './forward-headers.ts';
import { ForwardHeads } from './forward-heads.ts';
import type { SharedHead } from './forward-heads.ts';
import { MeshTrials } from './forward-mesh-trials.ts';
import type { ForwardedRequest } from './forward-proxy.ts';
import { privacyOf, unshareable } from './forward-shareable.ts';

/** What of the engine the forward proxy uses. */
export interface ContentOpener {
  openContent(
    request: DownloadRequest,
    options: { readonly signal: AbortSignal; readonly readFrom?: number },
  ): Promise<OpenContent>;
}

/** What mesh requests work with. */
export interface ForwardMeshOptions {
  readonly engine: ContentOpener;
  readonly bodies: BodyStreams;
  readonly clock: Clock;
  readonly log: Log;
  readonly via: string;
}

/** Longest wait for the head of the origin's answer to HEAD, and for the mesh to know what the content is. */
const HEAD_MS = 5000;
const OPEN_MS = 2000;

/** Answers requests from the mesh where the origin says that everybody gets the same. */
export class ForwardMesh {
  readonly #options: ForwardMeshOptions;
  readonly #trials = new MeshTrials();
  readonly #heads: ForwardHeads;

  constructor(options: ForwardMeshOptions) {
    this.#options = options;
    this.#heads = new ForwardHeads(options.clock);
  }

  /** True when it was answered; false, with nothing sent, when it should go to the origin directly. */
  async answer(forwarded: ForwardedRequest, direct: ForwardDirect): Promise<boolean> {
    const privacy = privacyOf(forwarded);
    if (privacy !== undefined) return this.#declined(forwarded, privacy);
    const { origin } = forwarded.url;
    if (!this.#trials.mayTry(origin, this.#options.clock.monotonic())) {
      return this.#declined(forwarded, 'the mesh was asked in vain a moment ago');
    }
    const head = this.#heads.find(forwarded) ?? (await this.#headOf(forwarded, direct));
    if (typeof head === 'string') return this.#declined(forwarded, head);
    const part = partOf(forwarded, head);
    if (part === undefined) return this.#declined(forwarded, 'ranges that the origin judges');
    const { url, filteredQueryParams: filters, priority } = forwarded;
    const asked = {
      url: url.href,
      ...(filters.length === 0 ? {} : { filteredQueryParams: filters }),
      ...(priority === undefined ? {} : { priority }),
    };
    await using content = await this.#open(asked, forwarded, part.start);
    if (content === undefined) return false;
    const known = { ...validatorsOf(head), length: head.length };
    const shape = { ...content.shape.validators, length: content.length };
    if (compareVersions(known, shape) === 'changed') {
      this.#heads.forget(forwarded);
      return this.#declined(forwarded, 'the mesh has another version');
    }
    const connections = direct.connectionsFor(forwarded.user);
    const body = { content, request: asked, range: part, connections };
    await this.#send(forwarded, { head, body });
    return true;
  }

  /** What the origin says to HEAD, or why its content is not for the mesh. */
  async #headOf(forwarded: ForwardedRequest, direct: ForwardDirect): Promise<SharedHead | string> {
    using deadline = this.#options.clock.deadline(HEAD_MS);
    const signal = AbortSignal.any([forwarded.signal, deadline.signal]);
    // As the seed will ask: nothing of this client's, so that the answer is for everybody.
    const headers = { via: `1.1 ${this.#options.via}` };
    try {
      const answer = await direct.ask({ ...forwarded, method: 'HEAD', signal }, { headers });
      answer.discard();
      const reason = unshareable(answer);
      if (reason !== undefined) return reason;
      const length = Number(valueOf(answer.headers, 'content-length'));
      const head = { headers: answer.headers, length };
      this.#heads.keep(forwarded, head);
      return head;
    } catch (error) {
      const coded = CodedError.from(error);
      // Neither may be asked for in another way.
      if (forwarded.signal.aborted || coded.code === 'ERR_ORIGIN_FORBIDDEN') throw coded;
      this.#failed(forwarded);
      return `HEAD: ${coded.code}`;
    }
  }

  async #open(
    asked: DownloadRequest,
    forwarded: ForwardedRequest,
    readFrom: number,
  ): Promise<OpenContent | undefined> {
    const { engine, clock } = this.#options;
    using deadline = clock.deadline(OPEN_MS);
    const signal = AbortSignal.any([forwarded.signal, deadline.signal]);
    try {
      const content = await engine.openContent(asked, { signal, readFrom });
      this.#trials.worked(forwarded.url.origin);
      return content;
    } catch (error) {
      if (forwarded.signal.aborted) throw error;
      this.#failed(forwarded);
      this.#declined(forwarded, `the mesh: ${CodedError.from(error).code}`);
      return undefined;
    }
  }

  async #send(
    { response, signal }: ForwardedRequest,
    { head, body }: { head: SharedHead; body: WantedBody & { range: ContentPart } },
  ): Promise<void> {
    const { start, end } = body.range;
    const headers = answerHeaders(head.headers, this.#options);
    headers['accept-ranges'] = 'bytes';
    headers['content-length'] = String(end - start);
    const isPart = end - start < head.length;
    if (isPart) headers['content-range'] = `bytes ${start}-${end - 1}/${head.length}`;
    response.writeHead(isPart ? 206 : 200, headers);
    response.flushHeaders();
    await pipeline(this.#options.bodies.body(body, { signal }), response, { signal });
  }

  #failed({ url }: ForwardedRequest): void {
    this.#trials.failed(url.origin, this.#options.clock.monotonic());
  }

  #declined(forwarded: ForwardedRequest, reason: string): false {
    this.#options.log.debug({ host: forwarded.url.host, reason }, 'a request goes to the origin');
    return false;
  }
}

/** The part that is asked for; undefined where the origin has to say what becomes of it. */
function partOf({ headers }: ForwardedRequest, head: SharedHead): ContentPart | undefined {
  const whole = { start: 0, end: head.length };
  const { etag, lastModified } = validatorsOf(head);
  const ifRange = valueOf(headers, 'if-range');
  if (ifRange !== undefined) {
    const isSame = ifRange.startsWith('"') ? ifRange === etag : ifRange === lastModified;
    if (!isSame) return whole;
  }
  const verdict = judgeRange(valueOf(headers, 'range'), head.length);
  if (verdict.kind === 'whole') return whole;
  return verdict.kind === 'parts' && verdict.parts.length === 1 ? verdict.parts[0] : undefined;
}

function validatorsOf({ headers }: SharedHead): Validators {
  return { etag: valueOf(headers, 'etag'), lastModified: valueOf(headers, 'last-modified') };
}
