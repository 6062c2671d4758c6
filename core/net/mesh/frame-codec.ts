import { CodedError } from '../../base/error.ts';

/**
 * Frames of a mesh session: four bytes, of which the first is the kind and the other three the big-endian length of
 * what follows. A message's kind is 0, so its frame is a 4-byte length and JSON in UTF-8.
 */
export const frameKinds = { message: 0, hello: 1, welcome: 2, bye: 3, ping: 4 } as const;

/** What a frame is for; users of a session see only messages. */
export type FrameKind = keyof typeof frameKinds;

/** One frame; `payload` is valid until the decoder is fed again. */
export interface Frame {
  readonly kind: FrameKind;
  readonly payload: Uint8Array;
}

const HEADER_BYTES = 4;
/** The most that three bytes of length can say. */
const MAX_LENGTH = 0xff_ff_ff;
/** First size of the buffer for a frame that arrives in parts. */
const FIRST_BUFFER_BYTES = 1024;
const EMPTY = new Uint8Array(0);

const kindOf = new Map<number, FrameKind>([
  [frameKinds.message, 'message'],
  [frameKinds.hello, 'hello'],
  [frameKinds.welcome, 'welcome'],
  [frameKinds.bye, 'bye'],
  [frameKinds.ping, 'ping'],
]);

/** The bytes of one frame; ERR_PROTOCOL when `text` is longer than `maxFrameBytes`. */
export function encodeFrame(kind: FrameKind, text: string, maxFrameBytes: number): Uint8Array {
  const length = Buffer.byteLength(text);
  if (length > Math.min(maxFrameBytes, MAX_LENGTH)) {
    throw new CodedError('ERR_PROTOCOL', `a message of ${length} bytes is larger than a frame`, {
      detail: { bytes: length, maxFrameBytes },
    });
  }
  const frame = Buffer.allocUnsafe(HEADER_BYTES + length);
  frame.writeUInt32BE(frameKinds[kind] * 0x1_00_00_00 + length, 0);
  frame.write(text, HEADER_BYTES);
  return frame;
}

/** Cuts a byte stream into frames; holds one frame at most, and memory only for bytes that came. */
export class FrameDecoder {
  #maxFrameBytes: number;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  #kind: FrameKind = 'message';
  #length = 0;
  #body = EMPTY;
  #bodyBytes = 0;

  constructor(options: { maxFrameBytes: number }) {
    this.#maxFrameBytes = Math.min(options.maxFrameBytes, MAX_LENGTH);
  }

  /** Changes the bound, from the next frame on. */
  set maxFrameBytes(bytes: number) {
    this.#maxFrameBytes = Math.min(bytes, MAX_LENGTH);
  }

  /** True between the first and the last byte of a frame. */
  get isInsideFrame(): boolean {
    return this.#headerBytes > 0;
  }

  /** Bytes of buffer held for a frame that is not complete. */
  get heldBytes(): number {
    return this.#body.length;
  }

  /** The frames that end in `chunk`; throws ERR_PROTOCOL, after which the decoder is of no more use. */
  *decode(chunk: Uint8Array): Generator<Frame, void, void> {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#headerBytes < HEADER_BYTES) {
        offset += this.#takeHeader(chunk.subarray(offset));
        if (this.#headerBytes < HEADER_BYTES) return;
      }
      const part = chunk.subarray(offset, offset + this.#length - this.#bodyBytes);
      offset += part.length;
      const payload = this.#takeBody(part);
      if (payload === undefined) return;
      yield { kind: this.#kind, payload };
    }
  }

  /** Takes what is missing of the header; returns how many bytes that were. */
  #takeHeader(bytes: Uint8Array): number {
    const part = bytes.subarray(0, HEADER_BYTES - this.#headerBytes);
    this.#header.set(part, this.#headerBytes);
    this.#headerBytes += part.length;
    if (this.#headerBytes === HEADER_BYTES) this.#readHeader();
    return part.length;
  }

  #readHeader(): void {
    const code = this.#header.readUInt8(0);
    const kind = kindOf.get(code);
    if (kind === undefined) {
      throw new CodedError('ERR_PROTOCOL', `no frame is of kind ${code}`, {
        detail: { kind: code },
      });
    }
    const length = this.#header.readUIntBE(1, 3);
    if (length > (kind === 'ping' ? 0 : this.#maxFrameBytes)) {
      throw new CodedError('ERR_PROTOCOL', `a frame of ${length} bytes is too large`, {
        detail: { bytes: length, maxFrameBytes: this.#maxFrameBytes },
      });
    }
    this.#kind = kind;
    this.#length = length;
  }

  /** The payload once it is whole. */
  #takeBody(part: Uint8Array): Uint8Array | undefined {
    if (part.length === this.#length) {
      this.#headerBytes = 0;
      return part;
    }
    this.#reserve(this.#bodyBytes + part.length);
    this.#body.set(part, this.#bodyBytes);
    this.#bodyBytes += part.length;
    if (this.#bodyBytes < this.#length) return undefined;
    const payload = this.#body.subarray(0, this.#length);
    this.#headerBytes = 0;
    this.#bodyBytes = 0;
    // A session keeps no buffer of a large frame that came once.
    this.#body = EMPTY;
    return payload;
  }

  /** Grows with what arrived, never with what was claimed: a stranger's 4 bytes must not cost a megabyte. */
  #reserve(bytes: number): void {
    if (bytes <= this.#body.length) return;
    const grown = new Uint8Array(Math.min(this.#length, Math.max(FIRST_BUFFER_BYTES, bytes * 2)));
    grown.set(this.#body.subarray(0, this.#bodyBytes));
    this.#body = grown;
  }
}
