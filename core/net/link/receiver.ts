import { MAX_UNCONSUMED_BYTES, PART_BYTES } from './frame-reader.ts';
import type { FrameReader } from './frame-reader.ts';

/** While nothing is fetched: one TLS record. */
const SMALL_BYTES = 16_384;
/** Worth handing on where each byte is of use as it comes: less than what one record holds. */
const SOON_BYTES = SMALL_BYTES / 2;
/** While pieces come: a block, and what came behind it. Twice a block is measured to be no better. */
const LARGE_BYTES = PART_BYTES + 65_536;
/** Reads into less room than this would cost more than moving what is there. */
const MIN_ROOM_BYTES = SMALL_BYTES;
/**
 * Large buffers that no link of this thread reads into. Each link wants one when a piece is asked for and none when it
 * came: made anew, they are 320 KiB of garbage a piece, and the collector marks the whole heap every 30 pieces.
 */
const spare: Buffer[] = [];
const MAX_SPARE = 4;

if (LARGE_BYTES - MAX_UNCONSUMED_BYTES < MIN_ROOM_BYTES / 2) {
  throw new RangeError('the receive buffer cannot hold what the frame reader leaves');
}

/**
 * The receive buffer of one link, between its socket and its frame reader. A dialled socket reads straight into
 * `room()`; Node offers no such thing for accepted ones, whose chunks are parsed where they lie when they hold
 * enough, and are gathered here otherwise.
 */
export class Receiver {
  /** True while DATA is expected, and large reads pay. */
  wantsLarge = false;
  readonly #reader: FrameReader;
  readonly #onError: (error: unknown) => void;
  #buffer: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  #isStopped = false;
  #received = 0;

  /** `onError` is told once of what a frame handler threw; nothing is parsed after that. */
  constructor(reader: FrameReader, onError: (error: unknown) => void) {
    this.#reader = reader;
    this.#onError = onError;
  }

  /** True while each byte of a piece is of use as it comes: it is handed on by the TLS record. */
  get wantsSoon(): boolean {
    return this.#reader.leastPart === SOON_BYTES;
  }

  set wantsSoon(isSoon: boolean) {
    this.#reader.leastPart = isSoon ? SOON_BYTES : PART_BYTES;
  }

  /** Bytes that came so far. */
  get received(): number {
    return this.#received;
  }

  /** Where the next bytes go; never empty, valid until the next call. */
  room(): Uint8Array {
    const held = this.#end - this.#start;
    if (held === 0) {
      if (this.wantsLarge && this.#buffer.length !== LARGE_BYTES) this.#buffer = largeBuffer();
      else if (!this.wantsLarge && this.#buffer.length !== SMALL_BYTES) {
        this.#letGo(Buffer.allocUnsafeSlow(SMALL_BYTES));
      }
      this.#start = 0;
      this.#end = 0;
    } else if (this.#buffer.length - this.#end < MIN_ROOM_BYTES) {
      const target = this.#buffer.length === LARGE_BYTES ? this.#buffer : largeBuffer();
      this.#buffer.copy(target, 0, this.#start, this.#end);
      this.#buffer = target;
      this.#start = 0;
      this.#end = held;
    }
    return this.#buffer.subarray(this.#end);
  }

  /** `bytes` were written into the last `room()`. */
  filled(bytes: number): void {
    this.#received += bytes;
    this.#end += bytes;
    // TLS comes in records of 16 KiB: most of them complete nothing.
    if (!this.#isStopped && this.#end - this.#start < this.#reader.needed) return;
    this.#start += this.#push(this.#buffer.subarray(this.#start, this.#end));
  }

  /** Hands on what waits for more of its piece. To be called now and then: where little comes, that little counts. */
  handOn(): void {
    if (this.#start === this.#end) return;
    this.#start += this.#push(this.#buffer.subarray(this.#start, this.#end), 1);
  }

  /** Takes a chunk from elsewhere; it is not used after the call. */
  feed(chunk: Uint8Array): void {
    let rest = chunk;
    if (this.#start === this.#end) rest = rest.subarray(this.#push(rest));
    this.#received += chunk.length - rest.length;
    while (rest.length > 0 && !this.#isStopped) {
      const room = this.room();
      const part = rest.subarray(0, room.length);
      room.set(part);
      rest = rest.subarray(part.length);
      this.filled(part.length);
    }
    if (this.#start === this.#end && !this.wantsLarge) this.#letGo(Buffer.alloc(0));
  }

  /** Bytes that come from now on are dropped. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Goes on with `next`. A socket reads into what `room()` gave it last, so what it gave before is nobody's. */
  #letGo(next: Buffer): void {
    if (this.#buffer.length === LARGE_BYTES && spare.length < MAX_SPARE) spare.push(this.#buffer);
    this.#buffer = next;
  }

  /** Throws nothing: it runs inside the socket's read callback, where a throw would end the process. */
  #push(bytes: Uint8Array, leastPart?: number): number {
    if (this.#isStopped) return bytes.length;
    try {
      return this.#reader.push(bytes, leastPart);
    } catch (error) {
      this.#isStopped = true;
      this.#onError(error);
      return bytes.length;
    }
  }
}

function largeBuffer(): Buffer {
  return spare.pop() ?? Buffer.allocUnsafeSlow(LARGE_BYTES);
}
