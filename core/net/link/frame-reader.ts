import { FRAME_HEADER_BYTES, frameTypes, judgeHeader, protocolError, readHeader } from './frame.ts';
import type { FrameHeader } from './frame.ts';

/** What the reader makes of the bytes; both may throw ERR_PROTOCOL. */
export interface FrameHandler {
  /** A whole frame other than DATA; the payload holds only during the call. */
  onFrame(header: FrameHeader, payload: Uint8Array): void;
  /** The next bytes of a DATA payload, from `at` in it; they hold only during the call. An empty DATA comes as one empty part. */
  onData(header: FrameHeader, at: number, part: Uint8Array): void;
}

/**
 * DATA is handed on in parts of at least this size, or to the end of its frame: a write each. On ext4 (Linux 6.18) the
 * kernel takes a sixth less for writes of 256 KiB than for those of 64 KiB; on tmpfs they are equal.
 */
export const PART_BYTES = 262_144;
/** Payloads up to this size are taken where they lie; the buffer handed to `push` must be able to hold them. */
const IN_PLACE_BYTES = 4096;
/** A longer one begins with so much, whatever it claims. */
const COLLECT_BYTES = 65_536;

/** Most bytes that `push` may leave unconsumed, so what a caller's buffer must hold. */
export const MAX_UNCONSUMED_BYTES = FRAME_HEADER_BYTES + PART_BYTES;

/** Cuts a stream of bytes into frames. It holds no more than one control payload, and that only as far as it came. */
export class FrameReader {
  handler: FrameHandler;
  /** Of a DATA payload that is not all there, so many bytes are worth handing on. */
  leastPart = PART_BYTES;
  #header: FrameHeader | undefined;
  /** Bytes of the current payload that were consumed. */
  #taken = 0;
  #collected: Buffer | undefined;
  #isSkipping = false;

  constructor(handler: FrameHandler) {
    this.handler = handler;
  }

  /** Bytes that there must be before `push` consumes any. */
  get needed(): number {
    const header = this.#header;
    if (header === undefined) return FRAME_HEADER_BYTES;
    if (this.#isSkipping) return 1;
    const left = header.length - this.#taken;
    if (header.type === frameTypes.data) return Math.min(left, this.leastPart);
    return header.length <= IN_PLACE_BYTES ? left : 1;
  }

  /** Consumes what can be consumed of `bytes` and says how many that were; the rest must come again, with more. */
  push(bytes: Uint8Array, leastPart = this.leastPart): number {
    let at = 0;
    for (;;) {
      if (this.#header === undefined) {
        if (bytes.length - at < FRAME_HEADER_BYTES) return at;
        this.#header = readHeader(bytes, at);
        this.#isSkipping = judgeHeader(this.#header) === 'skip';
        at += FRAME_HEADER_BYTES;
      }
      const consumed = this.#payload(this.#header, bytes.subarray(at), leastPart);
      at += consumed;
      if (this.#header !== undefined) return at;
    }
  }

  /** The next bytes of the payload of `header`; the header is forgotten when the payload is whole. */
  #payload(header: FrameHeader, bytes: Uint8Array, leastPart: number): number {
    const left = header.length - this.#taken;
    const part = bytes.length > left ? bytes.subarray(0, left) : bytes;
    const isEnd = part.length === left;
    if (this.#isSkipping) this.#taken += part.length;
    else if (header.type === frameTypes.data) {
      if (!isEnd && part.length < leastPart) return 0;
      this.handler.onData(header, this.#taken, part);
      this.#taken += part.length;
    } else {
      if (!isEnd && header.length <= IN_PLACE_BYTES) return 0;
      if (isEnd && this.#taken === 0) return this.#finish(header, part);
      this.#collect(header, part);
    }
    if (isEnd) this.#finish(header, this.#collected);
    return part.length;
  }

  #finish(header: FrameHeader, payload: Uint8Array | undefined): number {
    this.#header = undefined;
    this.#taken = 0;
    this.#collected = undefined;
    if (this.#isSkipping || header.type === frameTypes.data) return 0;
    if (payload === undefined) throw protocolError('a frame lost its payload');
    this.handler.onFrame(header, payload);
    return payload.length;
  }

  /** Doubling as bytes come: a length that is only claimed costs nothing, and tiny parts cost no object each. */
  #collect(header: FrameHeader, part: Uint8Array): void {
    const needed = this.#taken + part.length;
    let held = this.#collected;
    if (held === undefined || held.length < needed) {
      const grown = Buffer.allocUnsafe(
        Math.min(header.length, Math.max(2 * needed, COLLECT_BYTES)),
      );
      if (held !== undefined) held.copy(grown, 0, 0, this.#taken);
      held = grown;
    }
    held.set(part, this.#taken);
    this.#collected = held;
    this.#taken = needed;
  }
}
