// What comes of pieces while a limit is in force: kept until it may pass, so that a link is read on. What else comes on
// it (requests, pings, pieces of other tasks) waits for nothing, and those whose bytes are here pass by class and task,
// part by part, whatever came first.
import type { Timer } from '../../base/clock.ts';
import type { Account } from '../fair-line.ts';
import { partBytesFor } from '../pacing.ts';
import type { RateLimiter } from '../pacing.ts';
import type { FrameHeader } from './frame.ts';
import { PART_BYTES } from './frame-reader.ts';

/** A piece on its way in. */
export interface Inflowing {
  readonly account: Account;
  /** That of its task. */
  readonly limiter: RateLimiter | undefined;
  /** That of all that comes from where it does, if that is far away. */
  readonly farLimiter?: RateLimiter | undefined;
  /** Takes its next bytes, which are only valid during the call. Throws nothing. */
  pass(part: FramePart): void;
}

/** Bytes that wait for the limit of the host; past it links are not read. */
const MAX_HELD_BYTES = 8_388_608;
/** Bytes that wait for limits of tasks and of far links; past it they pass at once, and are paid for by those that come later. */
const MAX_PACED_BYTES = 8_388_608;
/** Buffers kept for reuse while anything waits: made anew, they would be as much garbage as comes. */
const MAX_SPARE = 16;

/** Bytes of a DATA frame, from `at` in it. */
export interface FramePart {
  readonly header: FrameHeader;
  readonly at: number;
  readonly bytes: Uint8Array;
}

interface Held {
  readonly parts: FramePart[];
  bytes: number;
  /** It waits for the limit of its task, or of what comes from far away. */
  isPaced: boolean;
}

/** What waits of one task; one part of it at a time is asked for. */
interface Flow {
  readonly key: unknown;
  /** In the order of their first bytes. */
  readonly pieces: Map<Inflowing, Held>;
  asking: Inflowing | undefined;
  asked: Timer | undefined;
}

/** The pieces that come to one endpoint, and the limits they pass on the way. */
export class Inflow {
  readonly #limiter: RateLimiter | undefined;
  readonly #flows = new Map<unknown, Flow>();
  readonly #onRoom = new Set<() => void>();
  readonly #spare: Buffer[] = [];
  #heldBytes = 0;
  #pacedBytes = 0;

  /** `limiter`: that of the host. */
  constructor(limiter: RateLimiter | undefined) {
    this.#limiter = limiter;
  }

  /** Bytes that came and may not pass yet. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** True while nothing more should be read. */
  get isFull(): boolean {
    return this.#heldBytes - this.#pacedBytes >= MAX_HELD_BYTES;
  }

  /** True while bytes of the piece wait here. */
  holds(piece: Inflowing): boolean {
    return this.#flows.get(piece.account.flow)?.pieces.has(piece) === true;
  }

  /** Calls back once, when more may be read. */
  onRoom(callback: () => void): void {
    this.#onRoom.add(callback);
  }

  /** Passes the next bytes of a piece on when that may be: at once where there is no limit. */
  take(piece: Inflowing, part: FramePart): void {
    const own = ownLimiters(piece);
    const isPaced = own.some((limiter) => isLimited(limiter));
    if (!this.holds(piece) && !isPaced && !isLimited(this.#limiter)) {
      for (const limiter of own) limiter.reserve(part.bytes.length);
      this.#limiter?.reserve(part.bytes.length);
      piece.pass(part);
      return;
    }
    const flow = this.#flowOf(piece);
    const held = flow.pieces.get(piece) ?? { parts: [], bytes: 0, isPaced };
    flow.pieces.set(piece, held);
    held.parts.push({ ...part, bytes: this.#copy(part.bytes) });
    this.#count(held, part.bytes.length);
    if (held.isPaced && this.#pacedBytes > MAX_PACED_BYTES) this.#giveCredit(flow, piece, held);
    this.#next(flow);
  }

  /** The piece is not wanted any more. What waits of it has come all the same: it is paid for. */
  drop(piece: Inflowing): void {
    const flow = this.#flows.get(piece.account.flow);
    const held = flow?.pieces.get(piece);
    if (flow === undefined || held === undefined) return;
    flow.pieces.delete(piece);
    this.paid(held.bytes, piece.farLimiter);
    this.#count(held, -held.bytes);
    this.#takeBack(flow, piece);
    this.#next(flow);
    this.#tellOfRoom();
  }

  /** Bytes came for nothing, from far away if `farLimiter` is given. */
  paid(bytes: number, farLimiter?: RateLimiter): void {
    farLimiter?.reserve(bytes);
    this.#limiter?.reserve(bytes);
  }

  /** To be called now and then. */
  tick(): void {
    if (this.#heldBytes === 0) this.#spare.length = 0;
  }

  #flowOf({ account }: Inflowing): Flow {
    const key = account.flow;
    const pieces = new Map<Inflowing, Held>();
    const flow = this.#flows.get(key) ?? { key, pieces, asking: undefined, asked: undefined };
    this.#flows.set(key, flow);
    return flow;
  }

  #count(held: Held, bytes: number): void {
    held.bytes += bytes;
    this.#heldBytes += bytes;
    if (held.isPaced) this.#pacedBytes += bytes;
  }

  #giveCredit(flow: Flow, piece: Inflowing, held: Held): void {
    this.#pacedBytes -= held.bytes;
    held.isPaced = false;
    this.#takeBack(flow, piece);
  }

  #takeBack(flow: Flow, piece: Inflowing): void {
    if (flow.asking !== piece) return;
    flow.asked?.cancel();
    flow.asked = undefined;
    flow.asking = undefined;
  }

  /** Asks for the next part of a task: of the piece that came first. */
  #next(flow: Flow): void {
    if (flow.asking !== undefined) return;
    const [first] = flow.pieces;
    if (first === undefined) {
      this.#flows.delete(flow.key);
      return;
    }
    const [piece, held] = first;
    const limiters = held.isPaced ? ownLimiters(piece) : [];
    if (this.#limiter !== undefined) limiters.push(this.#limiter);
    const most = limiters.map(({ bytesPerSecond }) => partBytesFor(bytesPerSecond));
    const bytes = Math.min(held.parts[0]?.bytes.length ?? 0, ...most);
    flow.asking = piece;
    this.#ask(flow, limiters, bytes);
  }

  /** Asks one limiter after the other for the next part of what `flow` asks for. */
  #ask(flow: Flow, [limiter, ...others]: readonly RateLimiter[], bytes: number): void {
    const piece = flow.asking;
    if (piece === undefined) return;
    if (limiter === undefined) return this.#pass(flow, piece, bytes);
    let isPassed = false;
    const asked = limiter.ask(bytes, piece.account, () => {
      isPassed = true;
      flow.asked = undefined;
      this.#ask(flow, others, bytes);
    });
    if (!isPassed) flow.asked = asked;
  }

  #pass(flow: Flow, piece: Inflowing, bytes: number): void {
    const held = flow.pieces.get(piece);
    const [part] = held?.parts ?? [];
    flow.asking = undefined;
    if (held === undefined || part === undefined) return;
    if (!held.isPaced) for (const limiter of ownLimiters(piece)) limiter.reserve(bytes);
    const { header, at } = part;
    const isWhole = part.bytes.length === bytes;
    if (isWhole) held.parts.shift();
    else held.parts[0] = { header, at: at + bytes, bytes: part.bytes.subarray(bytes) };
    this.#count(held, -bytes);
    if (held.bytes === 0) flow.pieces.delete(piece);
    piece.pass({ header, at, bytes: part.bytes.subarray(0, bytes) });
    if (isWhole) this.#reuse(part.bytes);
    this.#next(flow);
    this.#tellOfRoom();
  }

  #tellOfRoom(): void {
    if (this.#onRoom.size === 0 || this.#heldBytes - this.#pacedBytes > MAX_HELD_BYTES / 2) return;
    const told = [...this.#onRoom];
    this.#onRoom.clear();
    for (const callback of told) callback();
  }

  #copy(part: Uint8Array): Buffer {
    const isLarge = part.length > PART_BYTES / 2;
    const room = isLarge
      ? (this.#spare.pop() ?? Buffer.allocUnsafeSlow(PART_BYTES))
      : Buffer.allocUnsafeSlow(part.length);
    room.set(part);
    return room.subarray(0, part.length);
  }

  /** `part`: the end of a buffer, all of which has passed. */
  #reuse({ buffer }: Uint8Array): void {
    if (!(buffer instanceof ArrayBuffer) || buffer.byteLength !== PART_BYTES) return;
    if (this.#spare.length < MAX_SPARE) this.#spare.push(Buffer.from(buffer));
  }
}

function isLimited(limiter: RateLimiter | undefined): boolean {
  return limiter !== undefined && limiter.bytesPerSecond > 0;
}

function ownLimiters({ limiter, farLimiter }: Inflowing): RateLimiter[] {
  return [limiter, farLimiter].filter((one) => one !== undefined);
}
