import { CodedError } from '../../base/error.ts';
import { DEFAULT_PRIORITY } from '../../base/priority.ts';
import { FLAG_OFFER, frameTypes, protocolError, requestFlags } from './frame.ts';
import type { FrameFields, FrameHeader } from './frame.ts';
import { HaveMap } from './have-map.ts';
import type { LinkWire } from './link-wire.ts';
import { parseIndexes, parseManifest, remoteError } from './messages.ts';
import { Outbox } from './outbox.ts';
import { PieceFetch } from './piece-fetch.ts';
import type { FetchRequest, FetchResult } from './piece-fetch.ts';

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
  /** Newly announced pieces; those of the first have-map are in `channel.have`. */
  readonly onHave?: ((news: HaveNews) => void) | undefined;
  /** Pieces that are no longer served. */
  readonly onUnhave?: ((pieces: readonly number[]) => void) | undefined;
  readonly onManifest?: ((batches: readonly string[]) => void) | undefined;
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
  readonly #fetches = new Map<number, PieceFetch>();
  /** Pieces cancelled, by how many CANCELLED are still to come; DATA of them is late. */
  readonly #cancelled = new Map<number, number>();
  readonly #opened = Promise.withResolvers<Channel>();
  readonly #ended = Promise.withResolvers<CodedError | undefined>();
  #phase: 'opening' | 'open' | 'closing' | 'closed' = 'opening';
  #isAbandoned = false;
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
    return this.#fetches.size;
  }

  /** True while an answer is due, so that silence means something. */
  get isExpecting(): boolean {
    return this.#phase === 'opening' || this.#fetches.size > 0;
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
    const fetch = new PieceFetch(request, this.#wire.clock);
    const refusal = this.#refusal(request.piece, signal);
    if (refusal !== undefined) {
      fetch.fail(refusal);
      return fetch.result;
    }
    this.#fetches.set(request.piece, fetch);
    this.#context.onFetches();
    const cancel = (): void => this.#cancel(fetch, CodedError.from(signal?.reason));
    signal?.addEventListener('abort', cancel, { once: true });
    const { piece, length, isUrgent = false, priority = DEFAULT_PRIORITY } = request;
    const flags = requestFlags({ isUrgent, priority });
    this.#send(frameTypes.request, { flags, a: piece, b: length });
    try {
      return await fetch.result;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  /** Takes a request back that waits in the parent's line; false when its bytes are coming, or it is over. */
  takeBack(piece: number): boolean {
    const fetch = this.#fetches.get(piece);
    if (fetch === undefined || fetch.hasBegun) return false;
    this.#cancel(fetch, new CodedError('ERR_INTERRUPTED', 'the request was taken back'));
    return true;
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
    if (this.#phase === 'closing' || this.#cancelled.has(piece)) {
      const { peerId, task, version } = this;
      this.#context.onLateBytes({ peerId, task, version, piece, bytes: part.length });
      return;
    }
    const fetch = this.#fetches.get(piece);
    if (fetch === undefined) throw protocolError('DATA comes that was not asked for');
    this.#context.onBytesIn(part.length);
    const failure = fetch.take(header, at, part);
    if (fetch.pauseMs > 0) this.#wire.pauseReads(fetch.pauseMs);
    if (failure !== undefined) this.#cancel(fetch, failure);
    else if (fetch.isWhole) {
      this.#forget(fetch);
      fetch.finish();
    }
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
        this.#onCancelled(header.a);
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
    const fetch = this.#fetches.get(piece);
    if (fetch === undefined) throw protocolError('a request is refused that was not made');
    this.#forget(fetch);
    fetch.fail(error);
  }

  #onCancelled(piece: number): void {
    const due = this.#cancelled.get(piece) ?? 0;
    if (due === 0) throw protocolError('a request is cancelled that was not');
    if (due === 1) this.#cancelled.delete(piece);
    else this.#cancelled.set(piece, due - 1);
  }

  #cancel(fetch: PieceFetch, error: CodedError): void {
    const { piece } = fetch.request;
    if (this.#fetches.get(piece) !== fetch) return;
    this.#forget(fetch);
    this.#cancelled.set(piece, (this.#cancelled.get(piece) ?? 0) + 1);
    this.#send(frameTypes.cancel, { a: piece });
    fetch.fail(error);
  }

  #forget(fetch: PieceFetch): void {
    this.#fetches.delete(fetch.request.piece);
    this.#context.onFetches();
  }

  #refusal(piece: number, signal: AbortSignal | undefined): CodedError | undefined {
    if (signal?.aborted === true) return CodedError.from(signal.reason);
    if (!this.isOpen) return new CodedError('ERR_LINK', 'the channel is closed');
    if (this.#fetches.has(piece)) {
      return new CodedError('ERR_BUSY', 'the piece is being fetched on this channel already');
    }
    return undefined;
  }

  #end(error: CodedError | undefined): void {
    const fetches = [...this.#fetches.values()];
    this.#fetches.clear();
    this.#context.onFetches();
    for (const fetch of fetches) {
      fetch.fail(error ?? new CodedError('ERR_LINK', 'the channel was closed'));
    }
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
