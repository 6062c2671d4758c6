// What goes out: blocks of pieces, to a few links at a time. Before each block it is looked which class of requests
// is next; of the links that want something of that class the first in line is active until a piece is sent (whole
// pieces let children pass them on sooner) or another class is due, and goes to the end of the line if others wait.
// It has one block under way at a time, so a slow reader holds one block. A link whose reader takes little while the
// uplink could pass more is slow: it no longer counts as active, and lines up again once its piece is sent.
import type { Clock } from '../../base/clock.ts';
import type { UnitForm } from '../../compression/compression.ts';
import { priorities, weightOf, yieldsTo } from '../../base/priority.ts';
import type { Priority } from '../../base/priority.ts';
import { FairShares } from '../fair-shares.ts';
import type { RateLimiter } from '../pacing.ts';
import { FRAME_HEADER_BYTES, MAX_BLOCK_BYTES } from './frame.ts';
import { LanePace } from './lane-pace.ts';
import type { LinkLimits } from './limits.ts';
import { fillBlock, nextBlockBytes, nextUnit, unitsAhead } from './upload-block.ts';
import type { Upload, UploadRequest } from './upload-block.ts';
import {
  LARGE_RECORD_BYTES,
  isHeldBackFor,
  isOf,
  isUnderWay,
  newLane,
  nextUpload,
  urgentPlace,
  wants,
} from './upload-lane.ts';
import type { LaneState, UploadLane } from './upload-lane.ts';
import { UplinkGauge } from './uplink-gauge.ts';

/** Units compressed before they are due, a link. */
const UNITS_AHEAD = 3;
const SMALL_RECORD_BYTES = 4096;
const SMALL_RECORDS_BELOW = 1_000_000;
/** A record is read when all of it has come: a reader of such small blocks would hear nothing of a large one for long. */
const SMALL_RECORDS_BLOCK = 32_768;
/** A lane that holds a block for longer may be closed when there is none for others. */
const EVICT_AFTER_MS = 3_000;

/** Serves the requests of all links of an endpoint, in turn. */
export class Uploads {
  readonly #limits: LinkLimits;
  readonly #clock: Clock;
  readonly #limiter: RateLimiter | undefined;
  readonly #lanes = new Map<UploadLane, LaneState>();
  readonly #line: LaneState[] = [];
  readonly #classes = new FairShares<Priority>();
  /** Requests of all lanes, by class: each block asks for it, and lanes are many. */
  readonly #wanted = new Map<Priority, number>();
  /** Slow ones aside. */
  readonly #active = new Set<LaneState>();
  readonly #uplink = new UplinkGauge();
  readonly #free: Buffer[] = [];
  #blocksOut = 0;
  #lastNumber = 0;
  #bytesOut = 0;
  /** Of the lane whose block was taken last. */
  #blockBytes = MAX_BLOCK_BYTES;

  constructor(options: { limits: LinkLimits; clock: Clock; limiter?: RateLimiter | undefined }) {
    this.#limits = options.limits;
    this.#clock = options.clock;
    this.#limiter = options.limiter;
  }

  /** Payload handed to sockets so far. */
  get bytesOut(): number {
    return this.#bytesOut;
  }

  /** Links being sent to, slow ones aside. */
  get active(): number {
    return this.#active.size;
  }

  /** Requests not yet served. */
  get queued(): number {
    let requests = 0;
    for (const { queue } of this.#lanes.values()) requests += queue.length;
    return requests;
  }

  /** A guess, in ms, at when a refused request is worth repeating. */
  retryAfterMs(): number {
    return Math.min(5_000, 100 + 50 * this.#line.length);
  }

  /** Puts a request in the lane's queue; false when the queue is full. */
  add(lane: UploadLane, request: UploadRequest): boolean {
    const state = this.#lanes.get(lane) ?? this.#newLane(lane);
    if (this.#isFull(state, request.priority)) return false;
    this.#lanes.set(lane, state);
    const place = request.isUrgent ? urgentPlace(state.queue) : state.queue.length;
    state.queue.splice(place, 0, {
      request,
      offset: 0,
      unit: undefined,
      startedMs: undefined,
      isCancelled: false,
    });
    this.#count(state, request.priority, 1);
    if (state.phase === 'idle') this.#lineUp(state);
    else if (isHeldBackFor(state, request.priority)) this.#goBack(state);
    return true;
  }

  /** True until the last bytes of the piece are handed to the socket: who has read them may ask for it again. */
  has(lane: UploadLane, channel: number, piece: number): boolean {
    const queue = this.#lanes.get(lane)?.queue ?? [];
    return queue.some((upload) => isUnderWay(upload) && isOf(upload, channel, piece));
  }

  /** No block of the piece, or of the whole channel, is written after this. */
  cancel(lane: UploadLane, channel: number, piece?: number): void {
    const state = this.#lanes.get(lane);
    for (const upload of state?.queue ?? []) {
      if (isOf(upload, channel, piece)) upload.isCancelled = true;
    }
    if (state !== undefined) this.#dropCancelled(state);
  }

  /** Takes a request out that waits; false when its first block is under way already, or there is none. */
  withdraw(lane: UploadLane, channel: number, piece: number): boolean {
    const queue = this.#lanes.get(lane)?.queue ?? [];
    const upload = queue.find((one) => isUnderWay(one) && isOf(one, channel, piece));
    if (upload === undefined || upload.startedMs !== undefined) return false;
    this.cancel(lane, channel, piece);
    return true;
  }

  /** The other side has read what was written to the lane before it was pinged. */
  onPong(lane: UploadLane, token: number): void {
    this.#lanes.get(lane)?.rate.answered(token, this.#clock.monotonic());
  }

  /** Forgets a lane; a block that is with its socket is left to the garbage collector. */
  drop(lane: UploadLane): void {
    const state = this.#lanes.get(lane);
    if (state === undefined) return;
    this.#lanes.delete(lane);
    state.pause?.cancel();
    for (const upload of state.queue) upload.isCancelled = true;
    this.#dropCancelled(state);
    if (state.isSending) this.#blocksOut -= 1;
    else this.#giveBack(state);
    const place = this.#line.indexOf(state);
    if (place >= 0) this.#line.splice(place, 1);
    this.#active.delete(state);
    this.#pump();
  }

  /** Looks for slow readers; `ms` have passed since the last call. */
  tick(ms: number): void {
    this.#uplink.tick(ms);
    for (const state of this.#active) state.turnMs += ms;
    let slowest: LaneState | undefined;
    for (const state of [...this.#lanes.values()].filter(({ isSending }) => isSending)) {
      state.sendingMs += ms;
      if (state.sendingMs >= this.#limits.stallMs) state.lane.onStalled();
      else if (state.sendingMs > (slowest?.sendingMs ?? EVICT_AFTER_MS)) slowest = state;
    }
    if (this.#line.length > 0) {
      this.#passOverSlow();
      if (!this.#hasBlock()) slowest?.lane.onStalled();
    }
    this.#pump();
    if (this.#blocksOut === 0) this.#free.length = 0;
  }

  /** Others wait: those whose readers are slow make room. */
  #passOverSlow(): void {
    const { maxActiveUploads: most, slowMs } = this.#limits;
    const sending = [...this.#active].filter(({ isSending }) => isSending);
    const readers = sending.map((state) => ({
      state,
      turnMs: state.turnMs,
      bytesPerMs: state.pace.rate(state.sendingBytes, state.sendingMs),
    }));
    for (const { state } of this.#uplink.slowAmong(readers, { most, slowMs })) {
      state.phase = 'slow';
      this.#active.delete(state);
    }
  }

  #hasBlock(): boolean {
    return this.#blocksOut < this.#limits.maxUploadBlocks;
  }

  /** What is less important takes no room from what is more. */
  #isFull({ queue }: LaneState, priority: Priority): boolean {
    const { maxQueuedRequests } = this.#limits;
    if (queue.length < maxQueuedRequests) return false;
    const least = weightOf(priority);
    const equals = queue.filter(({ request }) => weightOf(request.priority) >= least);
    return equals.length >= maxQueuedRequests;
  }

  #count({ wanted }: LaneState, priority: Priority, change: number): void {
    for (const counts of [wanted, this.#wanted]) {
      counts.set(priority, (counts.get(priority) ?? 0) + change);
    }
  }

  #dropCancelled(state: LaneState): void {
    const { queue } = state;
    for (let place = queue.length - 1; place >= 0; place -= 1) {
      const upload = queue[place];
      if (upload?.isCancelled !== true) continue;
      queue.splice(place, 1);
      this.#count(state, upload.request.priority, -1);
    }
  }

  #newLane(lane: UploadLane): LaneState {
    this.#lastNumber += 1;
    // Where this host is the slow one, all its readers are.
    return newLane({ number: this.#lastNumber, lane, pace: new LanePace(this.#blockBytes) });
  }

  #lineUp(state: LaneState): void {
    state.phase = 'waiting';
    this.#line.push(state);
    this.#pump();
  }

  #pump(): void {
    while (this.#active.size < this.#limits.maxActiveUploads && this.#hasBlock()) {
      const priority = this.#nextClass(this.#line);
      if (priority === undefined) return;
      const state = this.#line.find((one) => wants(one, priority));
      if (state === undefined) return;
      this.#line.splice(this.#line.indexOf(state), 1);
      state.phase = 'active';
      state.turnMs = 0;
      this.#active.add(state);
      this.#prepare(state, priority);
    }
  }

  /** The class that is next of those these links want, and that need not keep out of the way of another. */
  #nextClass(lanes: readonly LaneState[]): Priority | undefined {
    const isDue = (priority: Priority): boolean =>
      (this.#wanted.get(priority) ?? 0) > 0 &&
      lanes.some((state) => wants(state, priority)) &&
      !this.#isInTheWay(priority);
    return this.#classes.next(priorities.filter(isDue));
  }

  /** One link at a time is sent to on behalf of those that yield to what others are sent. */
  #isInTheWay(priority: Priority): boolean {
    const sent = [...this.#active].flatMap((state) => state.priority ?? []);
    const [first] = sent.filter((other) => yieldsTo(priority, other));
    return first !== undefined && sent.some((other) => yieldsTo(other, first));
  }

  /** Ends the turn of an active lane. */
  #yield(state: LaneState): void {
    state.phase = 'idle';
    state.priority = undefined;
    state.rate.rest();
    this.#active.delete(state);
    if (state.queue.length > 0) this.#lineUp(state);
    else this.#pump();
  }

  /** Something more important came for a lane whose block waits for the rate limit: that block waits in the queue. */
  #goBack(state: LaneState): void {
    state.pause?.cancel();
    state.pause = undefined;
    this.#giveBack(state);
    this.#goOn(state, undefined);
  }

  /** After a block: goes on with the piece if that is not whole, unless another class or link is due. */
  #goOn(state: LaneState, upload: Upload | undefined): void {
    state.priority = undefined;
    const isPieceOver = upload === undefined || upload.isCancelled;
    const priority = this.#nextClass([...this.#line, state]);
    const isOwn = priority !== undefined && wants(state, priority);
    const isOthersTurn = isPieceOver
      ? this.#line.length > 0
      : priority !== upload.request.priority && this.#line.length > 0;
    if (isOwn && !isOthersTurn) this.#prepare(state, priority);
    else this.#yield(state);
  }

  /** Takes a block for the next request of a class, and waits until it is known how its bytes go. */
  #prepare(state: LaneState, priority: Priority): void {
    const upload = nextUpload(state, priority);
    if (upload === undefined) {
      this.#yield(state);
      return;
    }
    state.priority = priority;
    this.#blocksOut += 1;
    state.block = this.#free.pop() ?? Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES + MAX_BLOCK_BYTES);
    upload.startedMs ??= this.#clock.monotonic();
    const coming = this.#shape(state, upload);
    if (coming === undefined) {
      this.#ask(state, upload);
      return;
    }
    let isOver = false;
    const goOn = (isReady: boolean): void => {
      if (isOver) return;
      isOver = true;
      state.pause?.cancel();
      if (isReady) this.#shape(state, upload);
      this.#ask(state, upload);
    };
    const patience = this.#clock.after(coming.patienceMs, () => goOn(false));
    void coming.ready.then(() => goOn(true));
    state.pause = {
      cancel: () => {
        isOver = true;
        patience.cancel();
      },
    };
  }

  /** Gives the upload the compressed form of its next unit, where there is one; returns what to wait for, if that pays. */
  #shape(state: LaneState, upload: Upload): (UnitForm & { kind: 'coming' }) | undefined {
    const unit = nextUnit(upload);
    const form = unit && upload.request.forms?.formOf(unit, this.#linkRate(state));
    if (unit === undefined || form === undefined || form.kind === 'raw') return undefined;
    if (form.kind === 'coming') return form;
    upload.unit = { bytes: form.bytes, rawBytes: unit.length, sent: 0 };
    return undefined;
  }

  /** Bytes a second that the link takes, or that the rate limit leaves it; undefined while neither is known. */
  #linkRate({ rate }: LaneState): number | undefined {
    const limit = this.#limiter?.bytesPerSecond ?? 0;
    if (limit <= 0) return rate.bytesPerSecond;
    const share = limit / Math.max(1, this.#active.size);
    return Math.min(share, rate.bytesPerSecond ?? share);
  }

  /** Waits until the rate limit lets the next block pass: its bytes on the wire. */
  #ask(state: LaneState, upload: Upload): void {
    state.pause = undefined;
    const { priority } = upload.request;
    const rate = this.#limiter?.bytesPerSecond ?? 0;
    const bytes = Math.min(nextBlockBytes(upload, rate), state.pace.blockBytes);
    this.#classes.pay(priority, bytes, weightOf(priority));
    this.#setRecords(state, rate);
    if (this.#limiter === undefined || rate <= 0) {
      // Without a rate too it is known that something passes.
      this.#limiter?.reserve(bytes);
      this.#send(state, upload, bytes);
      return;
    }
    let isPassed = false;
    const pause = this.#limiter.ask(bytes, { priority, flow: state.number }, () => {
      isPassed = true;
      this.#send(state, upload, bytes);
    });
    if (!isPassed) state.pause = pause;
  }

  #send(state: LaneState, upload: Upload, bytes: number): void {
    state.pause = undefined;
    const { block } = state;
    if (block === undefined) return;
    // What a request cancelled meanwhile has paid to the rate limit is forfeit: at most one block.
    if (upload.isCancelled || !fillBlock(upload, block, bytes)) {
      this.#giveBack(state);
      upload.isCancelled = true;
      this.#dropCancelled(state);
      if (this.#isHeld(state)) this.#goOn(state, upload);
      return;
    }
    this.#bytesOut += bytes;
    state.isSending = true;
    state.sendingMs = 0;
    state.sendingBytes = bytes;
    const sinceMs = this.#clock.monotonic();
    state.lane.writeBlock(block.subarray(0, FRAME_HEADER_BYTES + bytes), () => {
      const ms = this.#clock.monotonic() - sinceMs;
      this.#uplink.passed(bytes, ms);
      if (!this.#isHeld(state)) return;
      state.pace.took(bytes, ms);
      this.#blockBytes = state.pace.blockBytes;
      this.#flushed(state, upload);
    });
    if (upload.request.forms !== undefined) this.#measure(state, bytes);
  }

  /** While a block is on its way, it is measured, and what follows it is compressed, if that pays. */
  #measure(state: LaneState, bytes: number): void {
    const token = state.rate.sent(bytes, this.#clock.monotonic());
    if (token !== undefined) state.lane.ping(token);
    const linkRate = this.#linkRate(state);
    if (linkRate === undefined) return;
    for (const { forms, unit } of unitsAhead(state.queue, UNITS_AHEAD)) {
      forms.expect(unit, linkRate);
    }
  }

  /** False once the lane was dropped, which callbacks to it may bring about. */
  #isHeld(state: LaneState): boolean {
    return this.#lanes.get(state.lane) === state;
  }

  #flushed(state: LaneState, upload: Upload): void {
    state.isSending = false;
    this.#giveBack(state);
    const isDone = upload.offset >= upload.request.length;
    if (isDone && !upload.isCancelled) {
      upload.request.onSent(this.#clock.monotonic() - (upload.startedMs ?? 0));
      upload.isCancelled = true;
      if (!this.#isHeld(state)) return;
    }
    this.#dropCancelled(state);
    // A slow one has no turn that ends before its piece does.
    if (state.phase === 'slow' && upload.isCancelled) this.#yield(state);
    else this.#goOn(state, upload);
  }

  #giveBack(state: LaneState): void {
    if (state.block === undefined) return;
    this.#blocksOut -= 1;
    if (this.#free.length < this.#limits.maxActiveUploads) this.#free.push(state.block);
    state.block = undefined;
  }

  #setRecords(state: LaneState, rate: number): void {
    const isLimited = rate > 0 && rate < SMALL_RECORDS_BELOW;
    const isSmall = isLimited || state.pace.blockBytes <= SMALL_RECORDS_BLOCK;
    const bytes = isSmall ? SMALL_RECORD_BYTES : LARGE_RECORD_BYTES;
    if (bytes === state.recordBytes) return;
    state.recordBytes = bytes;
    state.lane.setRecordBytes(bytes);
  }
}
