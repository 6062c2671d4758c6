// One body for one client, right and without a gap, from the mesh as long as that does its work and else from the
// origin. While it reads there it goes on watching the mesh, and returns as soon as that is ahead.
import type { Clock } from '../../core/base/clock.ts';
import { abortReason } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { RateLimiter } from '../../core/net/pacing.ts';
import type { Random } from '../../core/base/random.ts';
import type { OriginConnections } from '../../core/origin/origin-connections.ts';
import type { OriginBody } from '../../core/origin/origin.ts';
import { openResumable } from '../../core/origin/read-origin.ts';
import type { DownloadRequest } from '../../core/swarm/download-events.ts';
import type { OpenContent } from '../../core/swarm/open-content.ts';
import { contentLength, openerOf } from '../../core/swarm/origin-request.ts';
import { specOf } from '../../core/swarm/registrar.ts';
import { BodyCheck, heldBack } from './body-stream-check.ts';
import { OriginTrials, Pace, isFaster, isSlow } from './body-stream-pace.ts';

/** A body that a client waits for. */
export interface WantedBody {
  /** Whoever opened it disposes it, after the body. */
  readonly content: OpenContent;
  /** What the content was opened with: where and with which headers the origin is asked, and the digest of the whole. */
  readonly request: DownloadRequest;
  readonly range: { readonly start: number; readonly end?: number };
  /** To origins, with the guard that holds for this client. */
  readonly connections: OriginConnections;
}

/** Where a body came from. */
export interface BodyReport {
  readonly fromMesh: number;
  readonly direct: number;
  /** Why it left the mesh and returned, each with the byte at which it did; the first 16. */
  readonly turns: readonly BodyTurn[];
}

/** A change of the source. */
export interface BodyTurn {
  readonly at: number;
  readonly to: 'mesh' | 'origin';
  readonly reason: string;
}

export interface BodyStreamsOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Of what comes from origins; absent: no limit. */
  readonly limiter?: RateLimiter | undefined;
  /** Without a byte from the mesh for so long, and the time a piece takes at 2 MiB/s, the origin is asked. Default 3,000. */
  readonly stallMs?: number;
}

const STALL_MS = 3_000;
const SLOWEST_PIECE_BYTES_PER_MS = 2 * 1024 * 1.024;
/** When the origin cannot help, the mesh gets so many times as long. */
const PATIENCE = 10;
/** The mesh is ahead of the origin when it has so much more than what was read there. */
const AHEAD_BYTES = 4 * 1024 * 1024;
/** A body changes its source so often at most; then it stays where it is. */
const MAX_TURNS = 16;
const DIRECT_LIMITS = { headersTimeoutMs: 10_000, stallTimeoutMs: 15_000, retryTotalMs: 30_000 };

/** Makes bodies; one for all of a proxy, because they share what is known of origins. */
export class BodyStreams {
  readonly #options: BodyStreamsOptions;
  readonly #trials = new OriginTrials();

  constructor(options: BodyStreamsOptions) {
    this.#options = options;
  }

  /**
   * The body, to be read once. It throws what ended the task when the origin cannot help either, what the origin
   * says, and ERR_DIGEST_MISMATCH instead of the last bytes when a whole body is not what its digest says.
   */
  body(wanted: WantedBody, options: { readonly signal: AbortSignal }): BodyStream {
    return new BodyStream(wanted, { ...this.#options, ...options, trials: this.#trials });
  }
}

interface BodyContext extends BodyStreamsOptions {
  readonly signal: AbortSignal;
  readonly trials: OriginTrials;
}

/** One body; read it by iterating, and see `report` for where it came from so far. */
export class BodyStream implements AsyncIterable<Uint8Array> {
  readonly #wanted: WantedBody;
  readonly #context: BodyContext;
  readonly #turns: BodyTurn[] = [];
  #fromMesh = 0;
  #direct = 0;
  #at: number;
  #source: 'mesh' | 'origin' | 'done' = 'mesh';
  #check: BodyCheck | undefined;
  /** What was given before it was verified, until what follows shows that it was right. */
  #early: BodyCheck | undefined;
  /** Why the mesh was left; what ended the task is told when the origin cannot help. */
  #reason: CodedError | undefined;
  #isMeshOver = false;
  #isPatient = false;
  /** Bytes per second of the mesh, while it is compared with the origin. */
  #rival: number | undefined;

  constructor(wanted: WantedBody, context: BodyContext) {
    this.#wanted = wanted;
    this.#context = context;
    this.#at = wanted.range.start;
  }

  get report(): BodyReport {
    return { fromMesh: this.#fromMesh, direct: this.#direct, turns: [...this.#turns] };
  }

  [Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    return heldBack(this.#chunks(), () => this.#check);
  }

  async *#chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    while (this.#source !== 'done') {
      if (this.#source === 'mesh') yield* this.#readMesh();
      else yield* this.#readOrigin();
    }
  }

  async *#readMesh(): AsyncGenerator<Uint8Array, void, undefined> {
    const { content, range, request } = this.#wanted;
    const { signal, clock, trials, stallMs: patienceMs = STALL_MS } = this.#context;
    const pieceMs = content.shape.pieceLength / SLOWEST_PIECE_BYTES_PER_MS;
    const stallMs = (patienceMs + pieceMs) * (this.#isPatient ? PATIENCE : 1);
    const pace = new Pace();
    try {
      const rest = { ...range, start: this.#at };
      // What turns out to be wrong is taken back by breaking the body off, and its end is checked in any case.
      const isEarly = this.#isChecked && this.#at === 0;
      if (isEarly) this.#early = new BodyCheck(request.digest ?? '');
      let sinceMs = clock.monotonic();
      for await (const chunk of content.read(rest, { signal, stallMs, isEarly })) {
        const rate = pace.note(chunk.length, clock.monotonic() - sinceMs);
        this.#at += chunk.length;
        this.#noteEarly(chunk);
        this.#fromMesh += chunk.length;
        yield chunk;
        if (rate !== undefined && isSlow(rate) && this.#mayGoDirect) {
          if (trials.begin(request.url, clock.monotonic())) {
            this.#rival = rate;
            return this.#turn('origin', `the mesh brings ${Math.round(rate / 1024)} KiB/s`);
          }
        }
        sinceMs = clock.monotonic();
      }
      this.#source = 'done';
    } catch (error) {
      if (signal.aborted) throw CodedError.from(abortReason(signal));
      this.#leaveMesh(CodedError.from(error));
    }
  }

  /** Throws the error when the origin cannot take over. */
  #leaveMesh(error: CodedError): void {
    const { code } = error;
    this.#reason = error;
    this.#isMeshOver = code !== 'ERR_STALLED';
    const wasGivenWrong = code === 'ERR_DIGEST_MISMATCH' && this.#at > this.#wanted.range.start;
    if (code === 'ERR_ORIGIN_RANGE' || wasGivenWrong || this.#isPatient) throw error;
    if (!this.#mayGoDirect) {
      if (this.#isMeshOver) throw error;
      this.#isPatient = true;
      return this.#turn('mesh', 'the origin does not say which version it has');
    }
    this.#turn('origin', `${code}: ${error.message}`);
  }

  async *#readOrigin(): AsyncGenerator<Uint8Array, void, undefined> {
    const { clock, signal, trials } = this.#context;
    const { request } = this.#wanted;
    try {
      using body = await this.#openOrigin();
      const pace = new Pace();
      let sinceMs = clock.monotonic();
      for await (const chunk of body.body) {
        const rate = pace.note(chunk.length, clock.monotonic() - sinceMs);
        this.#at += chunk.length;
        this.#direct += chunk.length;
        yield chunk;
        if (this.#isMeshAhead()) return this.#turn('mesh', 'the mesh is ahead');
        if (rate !== undefined && !this.#isWorthIt(rate)) {
          return this.#turn('mesh', `the origin brings ${Math.round(rate / 1024)} KiB/s`);
        }
        sinceMs = clock.monotonic();
      }
      this.#source = 'done';
      // Faster to the end: others may try it, too.
      if (this.#rival !== undefined) trials.won(request.url);
    } catch (error) {
      if (signal.aborted) throw CodedError.from(abortReason(signal));
      this.#leaveOrigin(CodedError.from(error));
    }
  }

  /** Throws the error when nothing can be hoped for of the mesh. */
  #leaveOrigin(error: CodedError): void {
    const { code, message } = error;
    if (this.#isMeshOver || code === 'ERR_DIGEST_MISMATCH') throw this.#hopeless(error);
    this.#isPatient = true;
    this.#turn('mesh', `${code}: ${message}`);
  }

  /** The rest of the body, as the origin has it. */
  async #openOrigin(): Promise<OriginBody> {
    const { content, range, request, connections } = this.#wanted;
    const { length, shape } = content;
    const part = openerOf(specOf(request)).part(this.#at, range.end);
    // By its digest the content is the same wherever it is, and each origin has names of its own for its version.
    const isPinned = request.digest === undefined && this.#hasValidators;
    const ifMatch = isPinned ? { ifMatch: { ...shape.validators } } : {};
    const context = { ...this.#context, connections, limits: DIRECT_LIMITS };
    const body = await openResumable({ ...part, ...ifMatch }, context);
    try {
      const theirs = contentLength(specOf(request), body.head.length);
      if (length !== undefined && theirs !== undefined && theirs !== length) {
        throw new CodedError('ERR_ORIGIN_CHANGED', 'the origin has content of another length');
      }
      if (this.#isChecked) {
        const about = { content, digest: request.digest ?? '' };
        this.#check ??= this.#early ?? (await BodyCheck.after(this.#at, about, this.#context));
        this.#early = undefined;
      }
      return body;
    } catch (error) {
      body.close();
      throw error;
    }
  }

  /** What to say when neither could give the rest. */
  #hopeless(error: CodedError): CodedError {
    const reason = this.#reason;
    if (reason === undefined) return error;
    const message = `${reason.message}; the origin, asked directly: ${error.message}`;
    return new CodedError(error.code, message, { cause: error, detail: error.detail });
  }

  /** A body whose first bytes were given is continued only when the rest is of the same version for sure. */
  get #mayGoDirect(): boolean {
    const { request, range } = this.#wanted;
    if (this.#turns.length >= MAX_TURNS) return false;
    if (request.backToSource === false) return false;
    return this.#at === range.start || request.digest !== undefined || this.#hasValidators;
  }

  get #hasValidators(): boolean {
    const { etag, lastModified } = this.#wanted.content.shape.validators;
    return etag !== undefined || lastModified !== undefined;
  }

  /** True for a body that is all of the content, whose digest is known. */
  get #isChecked(): boolean {
    const { content, range, request } = this.#wanted;
    const isAll = range.start === 0 && (range.end === undefined || range.end === content.length);
    return isAll && request.digest !== undefined;
  }

  /** The first piece may be given before it is verified; what comes after it is given when that was right. */
  #noteEarly(chunk: Uint8Array): void {
    if (this.#at > this.#wanted.content.shape.pieceLength) this.#early = undefined;
    this.#early?.update(chunk);
  }

  #isMeshAhead(): boolean {
    const { content, range } = this.#wanted;
    if (this.#isMeshOver || this.#turns.length >= MAX_TURNS) return false;
    const end = Math.min(range.end ?? Infinity, content.length ?? Infinity);
    if (this.#at >= end) return false;
    return content.readyUntil(this.#at) >= Math.min(end, this.#at + AHEAD_BYTES);
  }

  #isWorthIt(rate: number): boolean {
    if (this.#rival === undefined || this.#isMeshOver) return true;
    return isFaster(rate, this.#rival);
  }

  #turn(to: 'mesh' | 'origin', reason: string): void {
    this.#source = to;
    if (to === 'mesh') this.#rival = undefined;
    if (this.#turns.length < MAX_TURNS) this.#turns.push({ at: this.#at, to, reason });
    const { task } = this.#wanted.content;
    this.#context.log.debug({ task, at: this.#at, to, reason }, 'a body goes on from elsewhere');
  }
}
