import type { Clock } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import type { Priority } from '../../base/priority.ts';
import { IncomingUnits } from '../../compression/incoming-units.ts';
import type { UnitIntake } from '../../compression/incoming-units.ts';
import { unitLength } from '../../compression/unit.ts';
import { FLAG_LAST, FLAG_MORE, FLAG_ZSTD, protocolError } from './frame.ts';
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
  /** True: not compressed, so that each byte can be used as it comes. */
  readonly isRaw?: boolean;
  /** Default normal. */
  readonly priority?: Priority;
}

/** What a fetch took: bytes of the piece, those that came for it over the link, and ms from request to verified. */
export interface FetchResult {
  readonly bytes: number;
  readonly wireBytes: number;
  readonly ms: number;
}

/** What a fetch needs of its channel. */
export interface FetchContext {
  readonly clock: Clock;
  readonly peerId: string;
  /** `task/version`. */
  readonly key: string;
  /** Takes compressed units; absent: none were agreed on. */
  readonly intake: UnitIntake | undefined;
}

/** A piece on its way in: checks that its bytes come in order and hands them to the sink. */
export class PieceFetch {
  readonly request: FetchRequest;
  readonly result: Promise<FetchResult>;
  readonly #clock: Clock;
  readonly #peerId: string;
  readonly #settled = Promise.withResolvers<FetchResult>();
  readonly #startedMs: number;
  readonly #units: IncomingUnits | undefined;
  #received = 0;
  #wireBytes = 0;

  constructor(request: FetchRequest, { clock, peerId, key, intake }: FetchContext) {
    this.#peerId = peerId;
    this.request = request;
    this.result = this.#settled.promise;
    this.#clock = clock;
    this.#startedMs = clock.monotonic();
    this.#units = intake && new IncomingUnits(intake, { key, piece: request.piece });
  }

  get isWhole(): boolean {
    return this.#received === this.request.length;
  }

  /** Takes the part at `at` of a DATA frame; returns what the sink threw, throws ERR_PROTOCOL when it is not the next. */
  take(header: FrameHeader, at: number, part: Uint8Array): CodedError | undefined {
    this.#wireBytes += part.length;
    const isFrameEnd = at + part.length === header.length;
    const isLast = (header.flags & FLAG_LAST) !== 0 && isFrameEnd;
    if ((header.flags & FLAG_ZSTD) !== 0) {
      return this.#takeUnit(header, { part, isLast, isFrameEnd });
    }
    if (this.#units?.isWithin === true || header.b + at !== this.#received) {
      throw protocolError('the bytes of a piece come out of order');
    }
    return this.#write(part, isLast);
  }

  /** All bytes are in the sink. */
  finish(): void {
    const { sink, length } = this.request;
    try {
      sink.finish();
    } catch (error) {
      this.#units?.drop();
      this.#settled.reject(CodedError.from(error));
      return;
    }
    this.#units?.keep();
    const ms = this.#clock.monotonic() - this.#startedMs;
    this.#settled.resolve({ bytes: length, wireBytes: this.#wireBytes, ms });
  }

  fail(error: CodedError): void {
    this.#units?.drop();
    this.#settled.reject(error);
    try {
      this.request.sink.abort();
    } catch {
      // The fetch has failed for a better reason, and this may run where nobody could catch.
    }
  }

  #takeUnit(
    header: FrameHeader,
    taken: { readonly part: Uint8Array; readonly isLast: boolean; readonly isFrameEnd: boolean },
  ): CodedError | undefined {
    const { part, isLast, isFrameEnd } = taken;
    const units = this.#units;
    const offset = this.#received;
    const length = unitLength(offset, this.request.length);
    if (units === undefined) throw protocolError('compressed bytes come that were not agreed on');
    if (header.b !== offset || length === undefined || part.length === 0) {
      throw protocolError('the bytes of a piece come out of order');
    }
    const isMore = (header.flags & FLAG_MORE) !== 0;
    const unit = units.take(part, isFrameEnd && !isMore);
    if (unit === undefined) return undefined;
    let raw: Uint8Array;
    try {
      raw = units.decompress(unit, { offset, length });
    } catch (cause) {
      return this.#wrong(CodedError.from(cause));
    }
    return this.#write(raw, isLast);
  }

  /** What cannot be decompressed is as wrong as bytes of another digest, and as surely of this sender's making. */
  #wrong(cause: CodedError): CodedError {
    const { piece } = this.request;
    const detail = { peer: this.#peerId, piece };
    const message = `piece ${piece} from ${this.#peerId} is wrong: ${cause.message}`;
    return new CodedError('ERR_PIECE_DIGEST', message, { cause, detail });
  }

  #write(part: Uint8Array, isLast: boolean): CodedError | undefined {
    const { length, sink } = this.request;
    const end = this.#received + part.length;
    if (end > length || part.length === 0) {
      throw protocolError('the bytes of a piece come out of order');
    }
    if (isLast && end < length) throw protocolError('a piece is shorter than it was asked for');
    try {
      sink.write(this.#received, part);
    } catch (error) {
      return CodedError.from(error);
    }
    this.#received = end;
    return undefined;
  }
}
