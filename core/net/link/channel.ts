import type { UnitIntake } from '../../compression/incoming-units.ts';
import { CodedError } from '../../base/error.ts';
import { DEFAULT_PRIORITY } from '../../base/priority.ts';
import type { RateLimiter } from '../pacing.ts';
import { Arrival } from './arrival.ts';
import { FLAG_BEING_SENT, FLAG_IF_WAITING, FLAG_OFFER, frameTypes } from './frame.ts';
import { protocolError, requestFlags } from './frame.ts';
import type { FrameFields, FrameHeader } from './frame.ts';
import { HaveMap } from './have-map.ts';
import type { FramePart, Inflow } from './inflow.ts';
import type { LinkWire } from './link-wire.ts';
import { parseIndexes, parseManifest, remoteError } from './messages.ts';
import { Outbox } from './outbox.ts';
import { PieceFetch } from './piece-fetch.ts';
import type { FetchRequest, FetchResult } from './piece-fetch.ts';
import { keyOf } from './task-version.ts';

/** Pieces that a parent announces. */
export interface HaveNews {
  readonly pieces: readonly number[];
  /** True: this host is to take them first. */
  readonly isOffer: boolean;
  /** Requests that wait in the parent's line. */
  readonly load: number;
}

/** What to open at the other side, and who is told of what comes without being asked for. */
export interface ChannelRequest {
  readonly task: string;
  readonly version: string;
  /** Ticket envelope for this host. */
  readonly ticket: string;
  /** What comes of the task passes it, too. */
  readonly limiter?: RateLimiter | undefined;
  /** All that comes passes it, where the parent is far away. */
  readonly farLimiter?: RateLimiter | undefined;
  /** Newly announced pieces; those of the first have-map are in `channel.have`. */
  readonly onHave?: ((news: HaveNews) => void) | undefined;
  /** Pieces that are no longer served. */
  readonly onUnhave?: ((pieces: readonly number[]) => void) | undefined;
  readonly onManifest?: ((batches: readonly string[]) => void) | undefined;
  /** Bytes of pieces that came in vain, as their request was cancelled before or after. */
  readonly onWasted?: ((bytes: number) => void) | undefined;
}

/** Bytes of a piece that came after it was cancelled. */
export interface LateBytes {
  readonly peerId: string;
  readonly task: string;
  readonly version: string;
  readonly piece: number;
  readonly bytes: number;
}

/** What a channel needs of its link. */
export interface ChannelContext {
  readonly wire: LinkWire;
  readonly inflow: Inflow;
  /** Takes compressed units; absent: none were agreed on. */
  readonly intake: UnitIntake | undefined;
  /** The number of the channel is free again. */
  readonly onReleased: () => void;
  /** A fetch has begun or ended. */
  readonly onFetches: () => void;
  readonly onBytesIn: (bytes: number) => void;
  readonly onLateBytes: (late: LateBytes) => void;
}

/** A task opened at a parent: what it has, and the way to take it. Made by `Link.open()`. */
export class Channel {
  readonly number: number;
  readonly task: string;
  readonly version: string;
  readonly peerId: string;
  /** Resolves when the channel ends: with undefined after `close()`, else with why. Never rejects. */
  readonly closed: Promise<CodedError | undefined>;
  readonly #context: ChannelContext;
  readonly #wire: LinkWire;
  readonly #request: ChannelRequest;
  readonly #outbox: Outbox;
  /** By piece. */
  readonly #arrivals = new Map<number, Arrival>();
  /** Pieces cancelled, by how many CANCELLED are still to come; DATA of them is late. */
  readonly #cancelled = new Map<number, number>();
  /** Pieces that the parent is asked not to begin with, until it answers. */
  readonly #withdrawals = new Map<number, PromiseWithResolvers<boolean>>();
  readonly #opened = Promise.withResolvers<Channel>();
  readonly #ended = Promise.withResolvers<CodedError | undefined>();
  readonly #readOn = (): void => this.#wire.resumeReads();
  #phase: 'opening' | 'open' | 'closing' | 'closed' = 'opening';
  #isAbandoned = false;
  #received = 0;
  #have: HaveMap | undefined;
  #pieceLength = 0;

  constructor(number: number, request: ChannelRequest, context: ChannelContext) {
    this.number = number;
    this.task = request.task;
    this.version = request.version;
    this.peerId = context.wire.peerId;
    this.closed = this.#ended.promise;
    this.#context = context;
    this.#wire = context.wire;
    this.#request = request;
    this.#outbox = new Outbox(number);
    // Who abandons an open() no longer listens.
    this.#opened.promise.catch(() => undefined);
  }

  /** What the parent has, as it says. */
  get have(): HaveMap {
    if (this.#have === undefined) throw new TypeError('the channel is not open yet');
    return this.#have;
  }

  get isOpen(): boolean {
    return this.#phase === 'open';
  }

  /** Bytes of every piece but the last, as the parent says. */
  get pieceLength(): number {
    return this.#pieceLength;
  }

  /** Fetches under way. */
  get fetching(): number {
    return this.#arrivals.size;
  }

  /** True while a piece is fetched whose bytes are of use as they come. */
  get isFetchingRaw(): boolean {
    return this.#arrivals.values().some(({ fetch }) => fetch.request.isRaw === true);
  }

  /** True while an answer is due, so that silence means something. */
  get isExpecting(): boolean {
    return this.#phase === 'opening' || this.#arrivals.values().some(({ isOver }) => !isOver);
  }

  /** Bytes of pieces that came, those that wait for a limit among them. */
  get receivedBytes(): number {
    return this.#received;
  }

  /** True while bytes that came wait for a limit here, or nothing is read because too many do. */
  get isHeldBack(): boolean {
    return this.#wire.isPaused || this.#arrivals.values().some(({ isHeld }) => isHeld);
  }

  has(piece: number): boolean {
    return this.#have?.has(piece) === true;
  }

  /**
   * Takes a piece into its sink. Rejects with ERR_BUSY (detail `retryAfterMs`), ERR_NOT_FOUND, ERR_LINK, the
   * abort, or what the sink threw. Exactly one of `sink.finish` and `sink.abort` is called, once.
   */
  async fetch(
    request: FetchRequest,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<FetchResult> {
    const { signal } = options;
    const { intake } = this.#context;
    const context = { clock: this.#wire.clock, peerId: this.peerId, key: keyOf(this), intake };
    const fetch = new PieceFetch(request, context);
    const refusal = this.#refusal(request.piece, signal);
    if (refusal !== undefined) {
      fetch.fail(refusal);
      return fetch.result;
    }
    const arrival = this.#expect(fetch);
    const cancel = (): void => this.#cancel(arrival, CodedError.from(signal?.reason));
    signal?.addEventListener('abort', cancel, { once: true });
    const { piece, length, isUrgent = false, isRaw = false } = request;
    const { priority = DEFAULT_PRIORITY } = request;
    const flags = requestFlags({ isUrgent, isRaw, priority });
    this.#send(frameTypes.request, { flags, a: piece, b: length });
    try {
      return await fetch.result;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  /**
   * Takes a request back that waits in the parent's line, which then fails with ERR_INTERRUPTED; false when its bytes
   * are on the way, or it is over. The parent decides: what it has handed to its socket comes whatever is said now.
   */
  async takeBack(piece: number): Promise<boolean> {
    const arrival = this.#arrivals.get(piece);
    if (arrival === undefined || arrival.cameBytes > 0) return false;
    const asked = this.#withdrawals.get(piece);
    if (asked !== undefined) return asked.promise;
    const withdrawal = Promise.withResolvers<boolean>();
    this.#withdrawals.set(piece, withdrawal);
    this.#send(frameTypes.cancel, { flags: FLAG_IF_WAITING, a: piece });
    return withdrawal.promise;
  }

  /** Asks for all manifest batches; they come to `onManifest`. */
  askManifest(): void {
    if (this.isOpen) this.#send(frameTypes.manifestAsk);
  }

  /** Passes manifest batches to the parent. */
  sendManifest(batches: readonly string[]): void {
    if (!this.isOpen) return;
    if (!this.#outbox.offer(batches)) {
      throw new CodedError('ERR_BUSY', 'the peer does not take manifest batches');
    }
    this.#wire.flush(this.#outbox);
  }

  /** Replaces the ticket, which the parent looks at again from time to time. */
  renew(ticket: string): void {
    if (this.isOpen) this.#wire.send(this.#fields(frameTypes.ticket), ticket);
  }

  /** Ends the channel; fetches under way fail with ERR_LINK. */
  close(): void {
    if (this.#phase === 'opening') this.#isAbandoned = true;
    if (this.#phase !== 'open') return;
    this.#phase = 'closing';
    this.#send(frameTypes.close);
    this.#end(undefined);
  }

  /** Resolves when the parent answered OPENED. @internal */
  async opened(): Promise<Channel> {
    return this.#opened.promise;
  }

  /** A frame for this channel; throws ERR_PROTOCOL. @internal */
  onFrame(header: FrameHeader, payload: Uint8Array): void {
    if (this.#phase === 'opening') this.#onAnswer(header, payload);
    else if (header.type === frameTypes.close) this.#onClose(payload);
    else if (header.type === frameTypes.opened || header.type === frameTypes.refused) {
      throw protocolError('a channel is answered twice');
    } else if (this.#phase === 'open') this.#onOpenFrame(header, payload);
  }

  /** Bytes of a piece; throws ERR_PROTOCOL when they are not the next ones asked for. @internal */
  onData(header: FrameHeader, at: number, part: Uint8Array): void {
    const piece = header.a;
    const { inflow } = this.#context;
    if (this.#phase === 'closing' || this.#cancelled.has(piece)) {
      const { peerId, task, version } = this;
      inflow.paid(part.length, this.#request.farLimiter);
      this.#context.onLateBytes({ peerId, task, version, piece, bytes: part.length });
      this.#request.onWasted?.(part.length);
      return;
    }
    const arrival = this.#arrivals.get(piece);
    if (arrival === undefined) throw protocolError('DATA comes that was not asked for');
    this.#received += part.length;
    arrival.take({ header, at, bytes: part });
    if (!inflow.isFull) return;
    this.#wire.pauseReads();
    inflow.onRoom(this.#readOn);
  }

  /** The link has ended. @internal */
  onLinkClosed(error: CodedError): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    this.#opened.reject(error);
    this.#end(error);
  }

  #onAnswer(header: FrameHeader, payload: Uint8Array): void {
    if (header.type === frameTypes.refused) {
      const error = remoteError(payload, 'refuses the task', this.peerId);
      this.#context.onReleased();
      this.onLinkClosed(error);
      return;
    }
    if (header.type !== frameTypes.opened) throw protocolError('a channel is used before OPENED');
    this.#have = new HaveMap(header.a, payload);
    this.#pieceLength = header.b;
    this.#phase = 'open';
    this.#opened.resolve(this);
    if (this.#isAbandoned) this.close();
  }

  #onClose(payload: Uint8Array): void {
    if (this.#phase === 'open') this.#send(frameTypes.close);
    this.#phase = 'closed';
    this.#context.onReleased();
    this.#end(remoteError(payload, 'closed the channel', this.peerId));
  }

  #onOpenFrame(header: FrameHeader, payload: Uint8Array): void {
    switch (header.type) {
      case frameTypes.have:
        this.#onHave(header, parseIndexes(payload, this.have.limit));
        return;
      case frameTypes.unhave:
        this.#onUnhave(parseIndexes(payload, this.have.limit));
        return;
      case frameTypes.manifest:
        this.#request.onManifest?.(parseManifest(payload));
        return;
      case frameTypes.miss:
        this.#onRefused(header.a, remoteError(payload, 'does not send the piece', this.peerId));
        return;
      case frameTypes.busy:
        this.#onRefused(header.a, busyError(this.peerId, header.b));
        return;
      case frameTypes.cancelled:
        this.#onCancelled(header);
        return;
      default:
        throw protocolError(`a parent sent a frame of type ${header.type}`);
    }
  }

  #onHave(header: FrameHeader, pieces: readonly number[]): void {
    for (const piece of pieces) this.have.set(piece);
    this.#request.onHave?.({
      pieces,
      isOffer: (header.flags & FLAG_OFFER) !== 0,
      load: header.a,
    });
  }

  #onUnhave(pieces: readonly number[]): void {
    for (const piece of pieces) this.have.clear(piece);
    this.#request.onUnhave?.(pieces);
  }

  #onRefused(piece: number, error: CodedError): void {
    // It was written before our CANCEL was read, or instead of the last DATA.
    if (this.#cancelled.has(piece)) return;
    const arrival = this.#arrivals.get(piece);
    if (arrival === undefined) throw protocolError('a request is refused that was not made');
    this.#forget(arrival);
    arrival.fail(error);
  }

  #onCancelled({ a: piece, flags }: FrameHeader): void {
    const due = this.#cancelled.get(piece) ?? 0;
    if (due === 0) this.#onWithdrawn(piece, (flags & FLAG_BEING_SENT) === 0);
    else if (due === 1) this.#cancelled.delete(piece);
    else this.#cancelled.set(piece, due - 1);
  }

  #onWithdrawn(piece: number, isTakenBack: boolean): void {
    const withdrawal = this.#withdrawals.get(piece);
    const arrival = this.#arrivals.get(piece);
    if (withdrawal === undefined || arrival === undefined) {
      throw protocolError('a request is cancelled that was not');
    }
    this.#withdrawals.delete(piece);
    if (isTakenBack) this.#fail(arrival, new CodedError('ERR_INTERRUPTED', 'it was taken back'));
    withdrawal.resolve(isTakenBack);
  }

  #expect(fetch: PieceFetch): Arrival {
    const { inflow, onFetches } = this.#context;
    const { piece, priority = DEFAULT_PRIORITY } = fetch.request;
    const arrival: Arrival = new Arrival(fetch, {
      inflow,
      account: { priority, flow: keyOf(this) },
      limiter: this.#request.limiter,
      farLimiter: this.#request.farLimiter,
      onPass: (part) => this.#pass(arrival, part),
    });
    this.#arrivals.set(piece, arrival);
    onFetches();
    return arrival;
  }

  /** Limits have let bytes of a piece pass; what is wrong with them ends the link. */
  #pass(arrival: Arrival, { header, at, bytes }: FramePart): void {
    const { fetch } = arrival;
    this.#context.onBytesIn(bytes.length);
    try {
      const failure = fetch.take(header, at, bytes);
      if (failure !== undefined) return this.#cancel(arrival, failure);
    } catch (error) {
      return this.#wire.broken(error);
    }
    if (!fetch.isWhole) return;
    this.#forget(arrival);
    fetch.finish();
  }

  #cancel(arrival: Arrival, error: CodedError): void {
    const { piece } = arrival.fetch.request;
    if (this.#arrivals.get(piece) !== arrival) return;
    this.#cancelled.set(piece, (this.#cancelled.get(piece) ?? 0) + 1);
    this.#send(frameTypes.cancel, { a: piece });
    this.#fail(arrival, error);
  }

  /** What came of it came in vain. */
  #fail(arrival: Arrival, error: CodedError): void {
    this.#forget(arrival);
    if (arrival.cameBytes > 0) this.#request.onWasted?.(arrival.cameBytes);
    arrival.fail(error);
  }

  #forget({ fetch }: Arrival): void {
    const { piece } = fetch.request;
    if (!this.#arrivals.delete(piece)) return;
    const withdrawal = this.#withdrawals.get(piece);
    if (withdrawal !== undefined) {
      // Its answer is still to come, before anything of a new request.
      this.#withdrawals.delete(piece);
      this.#cancelled.set(piece, (this.#cancelled.get(piece) ?? 0) + 1);
      withdrawal.resolve(false);
    }
    this.#context.onFetches();
  }

  #refusal(piece: number, signal: AbortSignal | undefined): CodedError | undefined {
    if (signal?.aborted === true) return CodedError.from(signal.reason);
    if (!this.isOpen) return new CodedError('ERR_LINK', 'the channel is closed');
    if (this.#arrivals.has(piece)) {
      return new CodedError('ERR_BUSY', 'the piece is being fetched on this channel already');
    }
    return undefined;
  }

  #end(error: CodedError | undefined): void {
    for (const arrival of this.#arrivals.values()) {
      this.#fail(arrival, error ?? new CodedError('ERR_LINK', 'the channel was closed'));
    }
    this.#context.onFetches();
    this.#ended.resolve(error);
  }

  #send(type: number, fields: { flags?: number; a?: number; b?: number } = {}): void {
    this.#wire.send({ ...this.#fields(type), ...fields });
  }

  #fields(type: number): FrameFields {
    return { type, channel: this.number };
  }
}

function busyError(peer: string, retryAfterMs: number): CodedError {
  const detail = { peer, retryAfterMs: Math.min(retryAfterMs, 60_000) };
  return new CodedError('ERR_BUSY', 'the peer has too many requests waiting', { detail });
}
