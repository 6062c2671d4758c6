import { defaultLinkLimits } from '../../core/net/link/limits.ts';
import { UplinkGauge } from '../../core/net/link/uplink-gauge.ts';
import type { EventQueue, SimEvent } from './event-queue.ts';
import type { SimPipes } from './sim-pipe.ts';

/** A network card's rates, bytes per ms. */
export interface CardRates {
  readonly up: number;
  readonly down: number;
}

/** A piece that a host asked another for. */
export interface SimUpload {
  readonly to: SimCard;
  readonly piece: number;
  readonly bytes: number;
  /** Its last byte is there. */
  arrived(): void;
}

/** How cards send. */
export interface CardOptions {
  readonly rates: CardRates;
  readonly blockBytes: number;
  /** Hosts sent to at a time; the others wait for their turn. */
  readonly maxActive: number;
  /** One way, ms. */
  readonly delayMs: number;
  /** Where the host stands, and what is passed on the way to hosts elsewhere. */
  readonly idc?: number;
  readonly pipes?: SimPipes | undefined;
}

interface Waiting {
  readonly upload: SimUpload;
  sent: number;
}

/** All requests of one other host. */
interface Lane {
  readonly to: SimCard;
  readonly queue: Waiting[];
  isActive: boolean;
  /** Since when it is sent to, and how much it was sent since. */
  sinceMs: number;
  sentBytes: number;
  /** Active, and others are sent to beside it. */
  isSlow: boolean;
  /** Bytes sent and not taken by the other side yet. */
  onWay: number;
}

/** How far a sender is ahead of its receiver, in blocks: what is on the way, and what a plain queue before it holds. */
const LEAST_WINDOW = 2;
const MAX_WINDOW = 4;
const QUEUE_MS = 50;
/** How often it is looked who is slow, as links do. */
const TICK_MS = 250;

/**
 * What a host sends and receives: whole pieces to a few others at a time, in turn, as `core/net/link/uploads.ts` does.
 * Blocks go out one after the other at the rate up; they come in at the rate down, first byte before last, so that a
 * block which meets nobody on its way takes no longer than the slower of the two cards.
 */
export class SimCard implements SimEvent {
  rates: CardRates;
  sentBytes = 0;
  receivedBytes = 0;
  /** Requests that wait or are being sent. */
  waiting = 0;
  readonly #queue: EventQueue;
  readonly #options: CardOptions;
  readonly #lanes = new Map<SimCard, Lane>();
  readonly #line: Lane[] = [];
  readonly #active: Lane[] = [];
  readonly #uplink = new UplinkGauge();
  #tickedMs = 0;
  /** Active lanes that are slow. */
  #slow = 0;
  #turn = 0;
  #sending: Block | undefined;
  /** When all that came so far has passed at the rate down. */
  #takenAtMs = 0;
  #isDown = false;

  constructor(queue: EventQueue, options: CardOptions) {
    this.#queue = queue;
    this.rates = options.rates;
    this.#options = options;
  }

  get isDown(): boolean {
    return this.#isDown;
  }

  /** Takes a request: it waits in line behind what that host asked for before. */
  send(upload: SimUpload): void {
    if (this.#isDown) return;
    let lane = this.#lanes.get(upload.to);
    if (lane === undefined) {
      lane = newLane(upload.to);
      this.#lanes.set(upload.to, lane);
    }
    lane.queue.push({ upload, sent: 0 });
    this.waiting += 1;
    if (lane.queue.length === 1 && !lane.isActive) this.#line.push(lane);
    this.#pump();
  }

  /** Drops a request of which nothing was sent yet; true when it was there. */
  cancel(to: SimCard, piece: number): boolean {
    const lane = this.#lanes.get(to);
    if (lane === undefined || lane.queue.length === 0) return false;
    const at = lane.queue.findIndex(({ upload, sent }) => upload.piece === piece && sent === 0);
    if (at < 0) return false;
    lane.queue.splice(at, 1);
    this.waiting -= 1;
    if (lane.queue.length === 0) this.#leaveLine(lane);
    return true;
  }

  /** The link with that host is gone, and with it what it asked for. */
  drop(to: SimCard): void {
    const lane = this.#lanes.get(to);
    if (lane === undefined) return;
    this.#lanes.delete(to);
    this.waiting -= lane.queue.length;
    lane.queue.length = 0;
    this.#leaveLine(lane);
  }

  /** Nothing goes out or comes in from now on. */
  cut(): void {
    this.#isDown = true;
    this.waiting = 0;
    this.#line.length = 0;
    this.#active.length = 0;
    this.#slow = 0;
    this.#lanes.clear();
  }

  /** The block under way has left. */
  fire(): void {
    const block = this.#sending;
    this.#sending = undefined;
    if (block === undefined || this.#isDown) return;
    this.sentBytes += block.bytes;
    this.#uplink.passed(block.bytes, block.bytes / this.rates.up);
    const { idc: from = 0, pipes, delayMs } = this.#options;
    const way = { from, to: block.lane.to.#options.idc ?? 0, atMs: this.#queue.nowMs };
    this.#queue.at((pipes?.pass(block, way) ?? way.atMs) + delayMs, block);
    this.#pump();
  }

  /** The last byte of a block came; calls back when the rate down has let it pass. */
  take(block: Block): void {
    const passMs = block.bytes / this.rates.down;
    this.#takenAtMs = Math.max(this.#takenAtMs, this.#queue.nowMs - block.sendMs) + passMs;
    this.receivedBytes += block.bytes;
    if (this.#takenAtMs > this.#queue.nowMs + 1e-6) this.#queue.at(this.#takenAtMs, block);
    else block.fire();
  }

  /** The receiver has taken so much of what is on the way to it. */
  taken(lane: Lane, bytes: number): void {
    lane.onWay -= bytes;
    if (this.#sending === undefined) this.#pump();
  }

  #pump(): void {
    if (this.#isDown || this.#sending !== undefined) return;
    this.#tick();
    while (this.#active.length - this.#slow < this.#options.maxActive) {
      const lane = this.#line.shift();
      if (lane === undefined) break;
      Object.assign(lane, { isActive: true, sinceMs: this.#queue.nowMs, sentBytes: 0 });
      this.#active.push(lane);
    }
    const lane = this.#nextLane();
    const head = lane?.queue[0];
    if (lane === undefined || head === undefined) return;
    const bytes = Math.min(this.#options.blockBytes, head.upload.bytes - head.sent);
    head.sent += bytes;
    lane.onWay += bytes;
    lane.sentBytes += bytes;
    const isLast = head.sent >= head.upload.bytes;
    if (isLast) this.#served(lane);
    const sendMs = bytes / this.rates.up;
    const upload = isLast ? head.upload : undefined;
    this.#sending = new Block(this, { lane, bytes, sendMs, upload });
    this.#queue.after(sendMs, this);
  }

  /** Who is slow makes room for others that wait. */
  #tick(): void {
    const { nowMs } = this.#queue;
    const { maxActive: most } = this.#options;
    const { slowMs } = defaultLinkLimits;
    if (nowMs - this.#tickedMs < TICK_MS) return;
    this.#uplink.tick(nowMs - this.#tickedMs);
    this.#tickedMs = nowMs;
    if (this.#line.length === 0) return;
    const readers = this.#active.flatMap((lane) => {
      const turnMs = nowMs - lane.sinceMs;
      const bytesPerMs = (lane.sentBytes - lane.onWay) / turnMs;
      return lane.isSlow ? [] : [{ lane, turnMs, bytesPerMs }];
    });
    for (const { lane } of this.#uplink.slowAmong(readers, { most, slowMs })) {
      lane.isSlow = true;
      this.#slow += 1;
    }
  }

  /** The next of the active lanes that may send. */
  #nextLane(): Lane | undefined {
    const { length } = this.#active;
    for (let step = 1; step <= length; step += 1) {
      const at = (this.#turn + step) % length;
      const lane = this.#active[at];
      if (lane === undefined) continue;
      if (lane.onWay >= this.#windowOf(lane.to)) continue;
      this.#turn = at;
      return lane;
    }
    return undefined;
  }

  #windowOf(to: SimCard): number {
    const { blockBytes, delayMs } = this.#options;
    const blocks = 1 + Math.ceil((to.rates.down * (2 * delayMs + QUEUE_MS)) / blockBytes);
    return Math.min(MAX_WINDOW, Math.max(LEAST_WINDOW, blocks)) * blockBytes;
  }

  /** A lane's piece is on its way: the next in line has its turn. */
  #served(lane: Lane): void {
    lane.queue.shift();
    this.waiting -= 1;
    this.#deactivate(lane);
    if (lane.queue.length > 0) this.#line.push(lane);
  }

  #leaveLine(lane: Lane): void {
    const place = this.#line.indexOf(lane);
    if (place >= 0) this.#line.splice(place, 1);
    if (!lane.isActive) return;
    this.#deactivate(lane);
    this.#pump();
  }

  #deactivate(lane: Lane): void {
    lane.isActive = false;
    if (lane.isSlow) this.#slow -= 1;
    lane.isSlow = false;
    const at = this.#active.indexOf(lane);
    if (at < 0) return;
    this.#active.splice(at, 1);
    if (at <= this.#turn) this.#turn -= 1;
  }
}

function newLane(to: SimCard): Lane {
  const idle = { isActive: false, isSlow: false, sinceMs: 0, sentBytes: 0, onWay: 0 };
  return { to, queue: [], ...idle };
}

/** A part of a piece on its way: it comes, and then it has passed the receiver's card. */
class Block implements SimEvent {
  readonly lane: Lane;
  readonly bytes: number;
  /** How long it takes the slowest that it has passed. */
  sendMs: number;
  /** Of the last block: what is complete with it. */
  readonly upload: SimUpload | undefined;
  readonly #from: SimCard;
  #isThere = false;

  constructor(
    from: SimCard,
    about: { lane: Lane; bytes: number; sendMs: number; upload: SimUpload | undefined },
  ) {
    this.#from = from;
    this.lane = about.lane;
    this.bytes = about.bytes;
    this.sendMs = about.sendMs;
    this.upload = about.upload;
  }

  fire(): void {
    const { to } = this.lane;
    if (to.isDown) return;
    if (!this.#isThere) {
      this.#isThere = true;
      to.take(this);
      return;
    }
    this.#from.taken(this.lane, this.bytes);
    this.upload?.arrived();
  }
}
