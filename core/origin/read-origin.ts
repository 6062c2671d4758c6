import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { LinkedAbort } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { limitsOf, openOrigin, waitToRetry } from './origin.ts';
import type { OriginBody, OriginOptions } from './origin.ts';
import { mayExpire } from './request-headers.ts';
import type { OriginRequest } from './request-headers.ts';
import { describeUrl } from './response-head.ts';
import type { OriginHead } from './response-head.ts';
import { isPassing } from './retry-policy.ts';
import { strongValidators } from './validators.ts';
import type { ExpectedVersion } from './validators.ts';

/** What a read works with. */
export interface ReadOriginOptions extends OriginOptions {
  /** Called once, with the first usable answer, before its first byte. */
  readonly onHead?: ((head: OriginHead) => void) | undefined;
}

/** A body that goes on by itself. */
export interface ResumableBody extends OriginBody {
  /**
   * It will be read slowly from here on: gives the connection back, and asks for the next part alone when it is read
   * on, where that costs no more than requests, and they are as good later as now.
   * What is not read would come all the same, up to megabytes a connection, into receive buffers.
   */
  slowDown(): void;
}

/** What is asked for at a time of a body that is read slowly. */
const PART_BYTES = 262_144;
/** As much as is on its way to us anyhow: what is left of a body is not worth another request. */
const LEAST_LEFT_BYTES = 1_048_576;

/**
 * As `openOrigin`, but the body goes on by itself: it gives each byte exactly once and in order, all of one
 * version, however often the connection breaks, stalls or ends early on the way. The range asked for is cut out
 * of the answer of an origin that ignores ranges. The body throws what `openOrigin` throws; ERR_ORIGIN_CHANGED
 * when the origin has another version by the time of a continuation; ERR_ORIGIN_SHORT, ERR_ORIGIN_STALLED or
 * ERR_ORIGIN_FAILING when continuations bring nothing new. It can be read once.
 *
 * A continuation asks for the rest with If-Match or If-Range where the origin names its versions well enough.
 * Where it does not, or has no ranges, the same request is made again and the part that was delivered already
 * is read over and compared by sha256: what follows it then comes from the same answer, so versions never mix.
 */
export async function openResumable(
  request: OriginRequest,
  options: OriginOptions,
): Promise<ResumableBody> {
  const closing = new LinkedAbort(options.signal);
  const reader = new ResumableReader(request, { ...options, signal: closing.signal });
  const close = (): void => {
    closing[Symbol.dispose]();
    closing.abort(new CodedError('ERR_INTERRUPTED', 'the body was closed'));
    reader.close();
  };
  try {
    const head = await reader.open();
    // Of an answer without a body there is nothing to close.
    if (head.status === 304) closing[Symbol.dispose]();
    const slowDown = (): void => reader.slowDown();
    return { head, body: reader.body(), slowDown, close, [Symbol.dispose]: close };
  } catch (error) {
    closing[Symbol.dispose]();
    throw error;
  }
}

/** The bytes of `request` as `openResumable` gives them; a 304 has none. Leaving early ends the connection. */
export async function* readOrigin(
  request: OriginRequest,
  options: ReadOriginOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  using opened = await openResumable(request, options);
  options.onHead?.(opened.head);
  yield* opened.body;
}

/** The version being read, as its first answer told. */
interface Version {
  readonly head: OriginHead;
  /** Set when an answer can be proven to be of this version by its head alone. */
  readonly expected: ExpectedVersion | undefined;
}

class ResumableReader {
  readonly #request: OriginRequest;
  readonly #options: OriginOptions;
  /** Offset in the content of the first byte asked for. */
  readonly #start: number;
  /** Offset of the next byte to deliver. */
  #offset: number;
  #version: Version | undefined;
  /** Of the whole content, once an answer told. */
  #length: number | undefined;
  /** Of everything delivered; kept only where it may be needed, because it costs a core at 1 to 2 GB/s. */
  #delivered: Hash | undefined;
  #failures = 0;
  #continuations = 0;
  #lastProgressMs: number;
  #isComplete = false;
  /** The answer being read. */
  #current: OriginBody | undefined;
  /** It is a part that was asked for, and nothing comes after it. */
  #isPart = false;
  /** The next is to be. */
  #wantsPart = false;
  /** The answer was left for what is to come later. */
  #isLeft = false;

  constructor(request: OriginRequest, options: OriginOptions) {
    this.#request = request;
    this.#options = options;
    this.#start = request.range?.start ?? 0;
    this.#offset = this.#start;
    this.#lastProgressMs = options.clock.monotonic();
  }

  /** Waits for the first usable answer. */
  async open(): Promise<OriginHead> {
    const opened = await openOrigin(this.#request, this.#options);
    try {
      this.#accept(opened.head);
    } catch (error) {
      opened.close();
      throw error;
    }
    this.#current = opened;
    return opened.head;
  }

  async *body(): AsyncGenerator<Uint8Array, void, undefined> {
    while (!this.#isComplete) yield* this.#readOn();
  }

  close(): void {
    this.#current?.close();
  }

  slowDown(): void {
    if (this.#current === undefined) return;
    if (this.#isPart) {
      this.#wantsPart = true;
      return;
    }
    if (this.#knownEnd() - this.#offset < LEAST_LEFT_BYTES) return;
    // Where versions are compared by reading all again, new requests would cost more than they spare.
    if (this.#delivered !== undefined || this.#length === undefined) return;
    if (mayExpire(this.#request)) return;
    this.#wantsPart = true;
    this.#isLeft = true;
    this.#current.close();
  }

  /** One answer's worth of bytes; a failure that may pass ends it early, after the pause due. */
  async *#readOn(): AsyncGenerator<Uint8Array, void, undefined> {
    const before = this.#offset;
    let failure: CodedError;
    const opened = this.#current ?? (await this.#continue());
    if (opened === undefined) return;
    this.#current = opened;
    try {
      yield* this.#fresh(opened);
      this.#finish(opened.head, before);
      return;
    } catch (error) {
      failure = CodedError.from(error);
      // What broke after the last byte broke nothing.
      this.#isComplete = isPassing(failure) && this.#offset >= this.#knownEnd();
    } finally {
      opened.close();
      this.#current = undefined;
    }
    const isLeft = this.#isLeft && failure.code === 'ERR_INTERRUPTED';
    this.#isLeft = false;
    if (isLeft) this.#failures = 0;
    else if (!this.#isComplete) await this.#recover(failure, before);
  }

  /** The next answer; undefined when there turned out to be nothing left to ask for. */
  async #continue(): Promise<OriginBody | undefined> {
    let opened: OriginBody | undefined;
    try {
      const request = this.#nextRequest();
      this.#isPart = this.#partEnd !== undefined;
      this.#wantsPart = false;
      opened = await openOrigin(request, this.#options);
      this.#accept(opened.head);
      // It may have stood in line for long.
      if (this.#failures === 0) this.#progress();
      return opened;
    } catch (error) {
      opened?.close();
      const coded = CodedError.from(error);
      if (coded.code !== 'ERR_ORIGIN_RANGE') throw coded;
      // A body of unknown length broke after its last byte: the end is where we are.
      if (this.#length !== undefined || coded.detail['length'] !== this.#offset) {
        throw this.#error('ERR_ORIGIN_CHANGED', 'has another length now', coded);
      }
      this.#isComplete = true;
      return undefined;
    }
  }

  #nextRequest(): OriginRequest {
    const request = this.#request;
    if (this.#version === undefined) return request;
    const { expected } = this.#version;
    const { url, headers, range } = request;
    if (expected === undefined) return { url, headers, range };
    const rest = { start: this.#offset, end: this.#partEnd ?? range?.end };
    return { url, headers, ifMatch: expected, range: this.#offset === 0 ? range : rest };
  }

  /** Where the part ends that is asked for next; undefined: all that is left is. */
  get #partEnd(): number | undefined {
    return this.#wantsPart ? Math.min(this.#offset + PART_BYTES, this.#knownEnd()) : undefined;
  }

  #accept(head: OriginHead): void {
    const known = this.#length ?? head.length;
    this.#length = known;
    if (this.#version !== undefined) {
      const isOther =
        (head.length ?? known) !== known ||
        head.contentEncoding !== this.#version.head.contentEncoding;
      if (isOther) throw this.#error('ERR_ORIGIN_CHANGED', 'has another version now');
      return;
    }
    this.#requireStart(head);
    const validators = strongValidators({ ...head.validators, date: head.date });
    const expected = this.#request.ifMatch ?? (validators && { ...validators, length: known });
    this.#version = { head, expected };
    const hasBody = head.status !== 304;
    if (hasBody && (expected === undefined || !head.acceptsRanges)) {
      this.#delivered = createHash('sha256');
    }
  }

  /** An origin that ignores ranges answers 200 even to one that lies outside the content. */
  #requireStart(head: OriginHead): void {
    if (head.status === 304 || this.#start === 0) return;
    if (this.#start >= (head.length ?? Infinity)) {
      throw this.#error('ERR_ORIGIN_RANGE', `has only ${head.length ?? 0} bytes`);
    }
  }

  /** The bytes of an answer that were not delivered yet, once those before them proved to be the same. */
  async *#fresh({ head, body }: OriginBody): AsyncGenerator<Uint8Array, void, undefined> {
    if (head.status === 304) return;
    const end = this.#request.range?.end ?? Infinity;
    const repeated = this.#delivered === undefined ? undefined : createHash('sha256');
    const resumeAt = this.#offset;
    let isProven = head.rangeStart >= resumeAt;
    let offset = head.rangeStart;
    for await (const chunk of body) {
      const from = offset;
      offset += chunk.length;
      if (from < resumeAt) {
        repeated?.update(chunk.subarray(Math.max(0, this.#start - from), resumeAt - from));
      }
      if (offset < resumeAt) continue;
      if (!isProven) this.#requireSamePrefix(repeated);
      isProven = true;
      if (offset > (this.#length ?? Infinity)) {
        throw this.#error('ERR_ORIGIN_CHANGED', 'became longer');
      }
      const fresh = chunk.subarray(Math.max(0, resumeAt - from), Math.max(0, end - from));
      if (fresh.length > 0) {
        this.#delivered?.update(fresh);
        this.#offset += fresh.length;
        yield fresh;
      }
      // A body that ends here is read to its end, so that its connection can be used again.
      if (this.#offset >= end && (head.rangeEnd ?? Infinity) > end) return;
    }
    if (offset >= resumeAt) return;
    if (resumeAt > this.#start) throw this.#error('ERR_ORIGIN_CHANGED', 'became shorter');
    throw this.#error('ERR_ORIGIN_RANGE', `has only ${offset} bytes`);
  }

  #requireSamePrefix(repeated: Hash | undefined): void {
    if (this.#delivered === undefined || repeated === undefined) return;
    if (this.#delivered.copy().digest('hex') !== repeated.digest('hex')) {
      throw this.#error('ERR_ORIGIN_CHANGED', 'sent other bytes than before');
    }
  }

  /** Decides after a body that ended as announced whether that was all. */
  #finish(head: OriginHead, before: number): void {
    const end = this.#knownEnd();
    // The end of a whole body of unknown length is the end of the content; a 206 may be a part of it.
    const isWhole = head.status === 200 && this.#length === undefined;
    this.#isComplete = head.status === 304 || isWhole || this.#offset >= end;
    if (this.#isComplete) return;
    if (this.#offset === before) throw this.#error('ERR_ORIGIN_SHORT', 'sends no more bytes');
    this.#progress();
  }

  /** Where the asked bytes end, as far as is known. */
  #knownEnd(): number {
    return Math.min(this.#request.range?.end ?? Infinity, this.#length ?? Infinity);
  }

  #progress(): void {
    this.#failures = 0;
    this.#lastProgressMs = this.#options.clock.monotonic();
  }

  async #recover(failure: CodedError, before: number): Promise<void> {
    if (!isPassing(failure)) throw failure;
    if (this.#offset > before) this.#progress();
    this.#failures += 1;
    this.#continuations += 1;
    const { clock } = this.#options;
    const limits = limitsOf(this.#options);
    const state = {
      failures: this.#failures,
      elapsedMs: clock.monotonic() - this.#lastProgressMs,
    };
    const last = new CodedError(failure.code, `${failure.message}, at byte ${this.#offset}`, {
      cause: failure,
      detail: { ...failure.detail, offset: this.#offset, attempts: this.#failures },
    });
    if (this.#continuations > limits.maxContinuations) throw last;
    await waitToRetry(last, state, this.#options);
  }

  #error(
    code: 'ERR_ORIGIN_CHANGED' | 'ERR_ORIGIN_RANGE' | 'ERR_ORIGIN_SHORT',
    what: string,
    cause?: CodedError,
  ): CodedError {
    const url = describeUrl(new URL(this.#version?.head.url ?? this.#request.url));
    return new CodedError(code, `${url} ${what}`, { cause, detail: { offset: this.#offset } });
  }
}
