import { abortable } from '../../base/clock.ts';
import type { Clock } from '../../base/clock.ts';
import type { Compression } from '../../compression/compression.ts';
import { UnitIntake } from '../../compression/incoming-units.ts';
import { CodedError } from '../../base/error.ts';
import type { Log } from '../../base/log.ts';
import { Channel } from './channel.ts';
import type { ChannelRequest, LateBytes } from './channel.ts';
import { FEATURE_ZSTD, encodeFrame, frameTypes, protocolError } from './frame.ts';
import type { FrameHeader } from './frame.ts';
import type { FrameHandler } from './frame-reader.ts';
import type { Authenticated } from './handshake.ts';
import { LinkWire } from './link-wire.ts';
import type { Inflow } from './inflow.ts';
import type { LinkTrust } from './link-identity.ts';
import type { LinkSocket } from './link-socket.ts';
import type { LinkLimits } from './limits.ts';
import { Liveness } from './liveness.ts';
import { parseOpen, remoteError } from './messages.ts';
import type { Open } from './messages.ts';
import { beatFor } from './read-beat.ts';
import type { BeatenReader, ReadBeat } from './read-beat.ts';
import type { Receiver } from './receiver.ts';
import { ServedChannel } from './served-channel.ts';
import type { OfferedManifest, SentPiece } from './served-channel.ts';
import type { FindTask } from './served-task.ts';
import type { Uploads } from './uploads.ts';

/** What all links of an endpoint share. */
export interface LinkContext {
  readonly limits: LinkLimits;
  readonly clock: Clock;
  readonly log: Log;
  readonly trust: LinkTrust;
  readonly uploads: Uploads;
  readonly inflow: Inflow;
  readonly beat: ReadBeat;
  readonly findTask: FindTask;
  readonly compression: Compression | undefined;
  readonly onClosed: (link: Link, error: CodedError) => void;
  readonly onServed: (channel: ServedChannel) => void;
  readonly onUnserved: (channel: ServedChannel) => void;
  readonly onRefused: () => void;
  readonly onBytesIn: (bytes: number) => void;
  readonly onLateBytes: (late: LateBytes) => void;
  readonly onSent: (sent: SentPiece) => void;
  readonly onOffered: (offered: OfferedManifest) => void;
}

/** What a link runs on. */
export interface LinkConnection {
  readonly side: 'dialler' | 'listener';
  readonly socket: LinkSocket;
  readonly receiver: Receiver;
  readonly authenticated: Authenticated;
}

/** Refused OPENs in a row after which the other side is no longer listened to: each costs a signature check. */
const MAX_REFUSED_OPENS = 64;

/** An authenticated connection to a peer. Either side opens channels on it. Made by `LinkEndpoint`. */
export class Link implements FrameHandler {
  readonly peerId: string;
  /** Where the other end is, `host:port`. */
  readonly remoteAddress: string;
  readonly side: 'dialler' | 'listener';
  /** The peer could not be dialled: what is fetched from it comes over this link, which it has dialled. */
  isOnlyWay = false;
  /** Resolves with why when the link ends; never rejects. */
  readonly closed: Promise<CodedError>;
  readonly #context: LinkContext;
  readonly #socket: LinkSocket;
  readonly #receiver: Receiver;
  readonly #wire: LinkWire;
  readonly #liveness: Liveness;
  readonly #record: string;
  /** The other side takes compressed units. */
  readonly #takesUnits: boolean;
  readonly #intake: UnitIntake | undefined;
  readonly #channels = new Map<number, Channel>();
  readonly #served = new Map<number, ServedChannel>();
  readonly #ended = Promise.withResolvers<CodedError>();
  #isClosed = false;
  #refusedOpens = 0;
  /** Bytes that had come at the last tick. */
  #received = 0;
  /** How often what comes should be read, as it was at the last tick. */
  #beatMs = 0;
  readonly #reading: BeatenReader;
  /** For how long nothing was read, since the other side was told of us. */
  #unreadMs = 0;

  constructor(connection: LinkConnection, context: LinkContext) {
    const { socket, authenticated } = connection;
    this.peerId = authenticated.peerId;
    this.remoteAddress = socket.address;
    this.side = connection.side;
    this.closed = this.#ended.promise;
    this.#context = context;
    this.#socket = socket;
    this.#receiver = connection.receiver;
    const { receiver } = connection;
    this.#reading = {
      get received() {
        return receiver.received;
      },
      rest: () => socket.rest(),
      wake: () => socket.wake(),
    };
    this.#record = authenticated.record;
    this.#takesUnits = (authenticated.features & FEATURE_ZSTD) !== 0;
    this.#intake = context.compression && new UnitIntake(context.compression);
    this.#liveness = new Liveness(context.limits);
    this.#wire = new LinkWire(this.peerId, {
      socket,
      clock: context.clock,
      onBroken: (error) => this.fail(error),
    });
  }

  /** Resolves when the socket is closed, which is after the link is. */
  get gone(): Promise<void> {
    return this.#socket.gone;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** True when nothing is open on it in either direction. */
  get isIdle(): boolean {
    return this.channelCount === 0;
  }

  /** Channels open here, and by the other side. */
  get channelCount(): number {
    return this.#channels.size + this.#served.size;
  }

  /** Bytes that were read of it. */
  get receivedBytes(): number {
    return this.#receiver.received;
  }

  /** Bytes on their way out that wait in this process. */
  get queuedBytes(): number {
    return this.#socket.queuedBytes;
  }

  /** Opens a task at the other side; ERR_TICKET, ERR_NOT_FOUND, ERR_BUSY, ERR_LINK, or the abort. */
  async open(
    request: ChannelRequest,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<Channel> {
    const { signal } = options;
    if (signal?.aborted === true) throw CodedError.from(signal.reason);
    if (this.#isClosed) throw new CodedError('ERR_LINK', 'the link is closed');
    const channel = this.#newChannel(request);
    const { task, version, ticket } = request;
    const payload = JSON.stringify({ task, version, ticket });
    this.#wire.send({ type: frameTypes.open, channel: channel.number }, payload);
    try {
      return await abortable(channel.opened(), signal);
    } catch (error) {
      channel.close();
      throw CodedError.from(error);
    }
  }

  /** Ends the link and every channel on it; the other side is told the code of `error`. */
  close(error: CodedError = new CodedError('ERR_LINK', 'the link was closed')): void {
    if (this.#isClosed) return;
    this.#socket.closeWith(encodeFrame({ type: frameTypes.goodbye }, error.code));
    this.onSocketClosed(error);
  }

  /** Closes the link for what the other side did, or failed to do. @internal */
  fail(cause: unknown): void {
    if (this.#isClosed) return;
    const error = CodedError.from(cause);
    const facts = {
      ...error.detail,
      peer: this.peerId,
      address: this.remoteAddress,
      code: error.code,
    };
    if (error.code === 'ERR_LINK') this.#context.log.debug(facts, 'link lost');
    else if (error.code === 'ERR_PROTOCOL') {
      this.#context.log.warn(facts, 'link closed: the peer broke the protocol');
    } else this.#context.log.error({ ...facts, error }, 'link closed: a frame was not handled');
    this.close(error);
  }

  /** The socket is gone, or about to go. @internal */
  onSocketClosed(error: CodedError): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#receiver.stop();
    this.#context.beat.set(this.#reading, 0);
    this.#wire.close();
    this.#context.uploads.drop(this.#wire);
    for (const channel of this.#channels.values()) channel.onLinkClosed(error);
    for (const channel of this.#served.values()) this.#context.onUnserved(channel);
    this.#channels.clear();
    this.#served.clear();
    this.#ended.resolve(error);
    this.#context.onClosed(this, error);
  }

  /** The peer owes an answer, and we look for it. @internal */
  get isAnswerDue(): boolean {
    return !this.#wire.isPaused && this.#channels.values().some(({ isExpecting }) => isExpecting);
  }

  /**
   * `countedMs` of the time since the last tick were not our own lag; the peer may be silent for `patienceMs`. Returns
   * how many bytes came since the last tick. @internal
   */
  tick(time: { elapsedMs: number; countedMs: number }, patienceMs: number): number {
    const { received } = this.#receiver;
    const came = received - this.#received;
    if (came > 0) this.#liveness.heard();
    this.#received = received;
    this.#receiver.handOn();
    if (!this.#isClosed) this.#judge(time, { came, patienceMs });
    return came;
  }

  #judge(
    time: { elapsedMs: number; countedMs: number },
    { came, patienceMs }: { readonly came: number; readonly patienceMs: number },
  ): void {
    this.#setBeat((came / time.elapsedMs) * 1_000);
    this.#stayHeard(time.elapsedMs);
    const { isIdle, isAnswerDue } = this;
    const verdict = this.#liveness.tick(time, { isIdle, isAnswerDue, patienceMs });
    if (verdict === 'ping') this.#wire.send({ type: frameTypes.ping });
    else if (verdict === 'idle') this.close(new CodedError('ERR_LINK', 'the link was idle'));
    else if (verdict === 'silent') {
      const detail = { peer: this.peerId, reason: 'silent' };
      this.fail(new CodedError('ERR_LINK', 'the peer is silent', { detail }));
    }
  }

  /** Slow is what has been slow for two ticks: what begins in the midst of one is not. */
  #setBeat(bytesPerSecond: number): void {
    const before = this.#beatMs;
    this.#beatMs = beatFor(bytesPerSecond);
    if (this.#mayRest) this.#context.beat.set(this.#reading, Math.min(before, this.#beatMs));
  }

  /**
   * False while each byte is of use as it comes. Node goes on reading an accepted socket that is paused until it holds
   * 64 KiB: there, resting gives nothing.
   */
  get #mayRest(): boolean {
    return this.side === 'dialler' && !this.#receiver.wantsSoon;
  }

  /** While nothing is read no ping is answered: the other side hears of us all the same. */
  #stayHeard(elapsedMs: number): void {
    this.#unreadMs = this.#wire.isPaused ? this.#unreadMs + elapsedMs : 0;
    if (this.#unreadMs < this.#context.limits.pingAfterMs) return;
    this.#unreadMs = 0;
    this.#wire.send({ type: frameTypes.pong });
  }

  /** Looks again at the record of the peer and at its tickets. @internal */
  recheck(): void {
    const { trust } = this.#context;
    try {
      trust.verifyMember(this.#record, this.peerId);
    } catch (error) {
      this.close(new CodedError('ERR_NOT_MEMBER', 'the peer is no member', { cause: error }));
    }
    for (const channel of this.#served.values()) channel.recheck(trust);
  }

  /** @internal */
  onFrame(header: FrameHeader, payload: Uint8Array): void {
    if (this.#isClosed) return;
    if (header.channel !== 0) this.#onChannelFrame(header, payload);
    else if (header.type === frameTypes.ping) {
      this.#wire.send({ type: frameTypes.pong, a: header.a });
    } else if (header.type === frameTypes.goodbye) {
      this.onSocketClosed(remoteError(payload, 'ended the link', this.peerId));
      this.#socket.destroy();
    } else if (header.type === frameTypes.pong) {
      this.#context.uploads.onPong(this.#wire, header.a);
    } else {
      throw protocolError(`a frame of type ${header.type} belongs to no channel`);
    }
  }

  /** @internal */
  onData(header: FrameHeader, at: number, part: Uint8Array): void {
    if (this.#isClosed) return;
    const channel = this.#channels.get(header.channel);
    if (channel === undefined) throw protocolError('DATA comes on a channel that is not open');
    channel.onData(header, at, part);
  }

  #newChannel(request: ChannelRequest): Channel {
    const { limits, inflow, onBytesIn, onLateBytes } = this.#context;
    if (this.#channels.size >= limits.maxChannels) {
      throw new CodedError('ERR_BUSY', `${limits.maxChannels} channels are open on the link`);
    }
    let number = this.side === 'dialler' ? 1 : 2;
    while (this.#channels.has(number)) number += 2;
    const channel = new Channel(number, request, {
      wire: this.#wire,
      inflow,
      intake: this.#intake,
      onBytesIn,
      onLateBytes,
      onReleased: () => this.#channels.delete(number),
      onFetches: () => {
        this.#receiver.wantsLarge = this.#channels.values().some(({ fetching }) => fetching > 0);
        this.#receiver.wantsSoon = this.#channels.values().some((one) => one.isFetchingRaw);
        if (!this.#mayRest) this.#context.beat.set(this.#reading, 0);
      },
    });
    this.#channels.set(number, channel);
    return channel;
  }

  #onChannelFrame(header: FrameHeader, payload: Uint8Array): void {
    const isOurs = header.channel % 2 === (this.side === 'dialler' ? 1 : 0);
    const channel = (isOurs ? this.#channels : this.#served).get(header.channel);
    if (header.type === frameTypes.open && !isOurs && channel === undefined) {
      this.#onOpen(header.channel, parseOpen(payload));
    } else if (channel !== undefined && header.type !== frameTypes.open) {
      channel.onFrame(header, payload);
    } else throw protocolError(`channel ${header.channel} is not open for type ${header.type}`);
  }

  /** Answers an OPEN: OPENED, or REFUSED with the code. */
  #onOpen(number: number, open: Open): void {
    try {
      const channel = this.#serve(number, open);
      // The answer may have been one too many for a peer that does not read.
      if (this.#isClosed) return;
      this.#refusedOpens = 0;
      this.#served.set(number, channel);
      this.#context.onServed(channel);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      this.#refuse(number, open, error);
    }
  }

  /** The channel that was asked for; throws the refusal. */
  #serve(number: number, open: Open): ServedChannel {
    const { limits, trust, findTask, uploads, onUnserved, onSent, onOffered } = this.#context;
    const { task, version, ticket } = open;
    if (this.#served.size >= limits.maxChannels) {
      throw new CodedError('ERR_BUSY', `${limits.maxChannels} channels are open on the link`);
    }
    try {
      trust.verifyTicket(ticket, { child: this.peerId, task, version });
    } catch (cause) {
      const { message } = CodedError.from(cause);
      throw new CodedError('ERR_TICKET', `the ticket is refused: ${message}`, { cause });
    }
    const served = findTask(task, version, this.peerId);
    if (served === undefined) throw new CodedError('ERR_NOT_FOUND', 'the task is not served here');
    const channel = new ServedChannel(number, open, {
      task: served,
      wire: this.#wire,
      uploads,
      compression: this.#takesUnits ? this.#context.compression : undefined,
      onSent,
      onOffered,
      onReleased: () => {
        this.#served.delete(number);
        onUnserved(channel);
      },
    });
    return channel;
  }

  #refuse(number: number, { task, version }: Open, { code, message: reason }: CodedError): void {
    this.#context.log.debug({ peer: this.peerId, task, version, code, reason }, 'OPEN refused');
    this.#context.onRefused();
    this.#refusedOpens += 1;
    if (this.#refusedOpens > MAX_REFUSED_OPENS) throw protocolError('too many OPENs are refused');
    this.#wire.send({ type: frameTypes.refused, channel: number }, code);
  }
}
