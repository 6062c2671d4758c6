import type { Clock } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import type { Priority } from '../../base/priority.ts';
import type { RateLimiter } from '../pacing.ts';
import { FLAG_LAST, protocolError } from './frame.ts';
import type { FrameHeader } from './frame.ts';

/** Where a piece goes. All calls are synchronous; either `finish` or `abort` is called, once. */
export interface PieceSink {
  /** `chunk` goes to `offset` of the piece and is only valid during the call. */
  write(offset: number, chunk: Uint8Array): void;
  /** All bytes have come. Verifies them; ERR_PIECE_DIGEST when they are wrong. */
  finish(): void;
  /** No more bytes will come. */
  abort(): void;
}

/** One piece to take from a parent. */
export interface FetchRequest {
  readonly piece: number;
  /** Its bytes, by the manifest. */
  readonly length: number;
  readonly sink: PieceSink;
  /** True: the parent sends it before the others that wait on this link. */
  readonly isUrgent?: boolean;
  /** Default normal. */
  readonly priority?: Priority;
  /** What comes is paid to these; while they ask to wait, the whole link is not read. */
  readonly limiters?: readonly RateLimiter[];
}

/** What a fetch took: payload bytes, and ms from request to verified. */
export interface FetchResult {
  readonly bytes: number;
  readonly ms: number;
}

/** A piece on its way in: checks that its bytes come in order and hands them to the sink. */
export class PieceFetch {
  readonly request: FetchRequest;
  readonly result: Promise<FetchResult>;
  readonly #clock: Clock;
  readonly #settled = Promise.withResolvers<FetchResult>();
  readonly #startedMs: number;
  #received = 0;
  #pauseMs = 0;

  constructor(request: FetchRequest, clock: Clock) {
    this.request = request;
    this.result = this.#settled.promise;
    this.#clock = clock;
    this.#startedMs = clock.monotonic();
  }

  /** True once bytes have come. */
  get hasBegun(): boolean {
    return this.#received > 0;
  }

  get isWhole(): boolean {
    return this.#received === this.request.length;
  }

  /** How long the limiters want the reader to wait after the part that was taken last. */
  get pauseMs(): number {
    return this.#pauseMs;
  }

  /** Takes the part at `at` of a DATA frame; returns what the sink threw, throws ERR_PROTOCOL when it is not the next. */
  take(header: FrameHeader, at: number, part: Uint8Array): CodedError | undefined {
    const { length, sink, limiters = [] } = this.request;
    const end = this.#received + part.length;
    if (header.b + at !== this.#received || end > length || part.length === 0) {
      throw protocolError('the bytes of a piece come out of order');
    }
    const isLast = (header.flags & FLAG_LAST) !== 0 && at + part.length === header.length;
    if (isLast && end < length) throw protocolError('a piece is shorter than it was asked for');
    try {
      sink.write(this.#received, part);
    } catch (error) {
      return CodedError.from(error);
    }
    this.#received = end;
    this.#pauseMs = 0;
    for (const limiter of limiters) {
      this.#pauseMs = Math.max(this.#pauseMs, limiter.reserve(part.length));
    }
    return undefined;
  }

  /** All bytes are in the sink. */
  finish(): void {
    const { sink, length } = this.request;
    try {
      sink.finish();
    } catch (error) {
      this.#settled.reject(CodedError.from(error));
      return;
    }
    this.#settled.resolve({ bytes: length, ms: this.#clock.monotonic() - this.#startedMs });
  }

  fail(error: CodedError): void {
    this.#settled.reject(error);
    try {
      this.request.sink.abort();
    } catch {
      // The fetch has failed for a better reason, and this may run where nobody could catch.
    }
  }
}
