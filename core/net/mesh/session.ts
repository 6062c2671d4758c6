import { abortable } from '../../base/clock.ts';
import type { Clock } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import type { Random } from '../../base/random.ts';
import type { ByteChannel } from './byte-channel.ts';
import { decodeBye, encodeBye } from './bye.ts';
import { FrameDecoder, encodeFrame } from './frame-codec.ts';
import type { Frame, FrameKind } from './frame-codec.ts';
import { Heartbeat } from './heartbeat.ts';
import { Inbox } from './inbox.ts';
import type { Letter } from './inbox.ts';
import type { MeshLimits } from './mesh-limits.ts';
import type { MeshSession, SessionStats } from './mesh-session.ts';
import { Outbox } from './outbox.ts';

export interface SessionOptions {
  readonly channel: ByteChannel;
  readonly remotePeerId: string;
  readonly remoteAddress: string;
  readonly protocol: string;
  readonly clock: Clock;
  /** Spreads the signs of life of many sessions over time. */
  readonly random: Random;
  readonly limits: MeshLimits;
  /** Bounds what the peer sends by `maxStrangerFrameBytes` until `trust()`. */
  readonly isStranger?: boolean;
  /** The peer counts as dead: so does whatever carries the channel. */
  readonly onSilent?: () => void;
}

/** A session over any channel of bytes. */
export class ChannelSession implements MeshSession {
  readonly remotePeerId: string;
  readonly remoteAddress: string;
  readonly protocol: string;
  hello: unknown;
  welcome: unknown;
  readonly closed: Promise<CodedError | undefined>;
  readonly #options: SessionOptions;
  readonly #decoder: FrameDecoder;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  readonly #heartbeat: Heartbeat;
  readonly #settleClosed: (error: CodedError | undefined) => void;
  #state: 'open' | 'closing' | 'ended' = 'open';
  /** Why this session is ending or has ended; undefined: well. */
  #outcome: CodedError | undefined;
  #stepMs: number | undefined;
  #counts = { sentMessages: 0, sentBytes: 0, receivedMessages: 0, receivedBytes: 0 };

  constructor(options: SessionOptions) {
    const { channel, clock, random, limits } = options;
    this.#options = options;
    this.remotePeerId = options.remotePeerId;
    this.remoteAddress = options.remoteAddress;
    this.protocol = options.protocol;
    const { promise, resolve } = Promise.withResolvers<CodedError | undefined>();
    this.closed = promise;
    this.#settleClosed = resolve;
    this.#decoder = new FrameDecoder({
      maxFrameBytes:
        options.isStranger === true ? limits.maxStrangerFrameBytes : limits.maxFrameBytes,
    });
    this.#inbox = new Inbox({
      highWaterBytes: limits.maxIncomingBytes,
      onFull: () => channel.pause(),
      onRoom: () => channel.resume(),
    });
    this.#outbox = new Outbox({
      maxBytes: limits.maxOutgoingBytes,
      write: (bytes) => this.#write(bytes),
    });
    this.#heartbeat = new Heartbeat({
      clock,
      everyMs: Math.round(limits.keepAliveMs * (0.95 + 0.1 * random.next())),
      maxMissed: limits.maxMissedKeepAlives,
      beat: () => this.#beat(),
      isDeaf: () => this.#inbox.isFull,
      onSilent: (silentMs) => this.#onSilent(silentMs),
    });
    channel.listen({
      onBytes: (bytes) => this.#onBytes(bytes),
      onDrain: () => this.#outbox.onDrain(),
      onRemoteEnd: () => this.#onRemoteEnd(),
      onClose: (error) => this.#onChannelClose(error),
    });
  }

  get stats(): SessionStats {
    return {
      ...this.#counts,
      outgoingBytes: this.#outbox.bytes,
      incomingBytes: this.#inbox.bytes,
    };
  }

  get hasEnded(): boolean {
    return this.#state === 'ended';
  }

  send(message: unknown): void {
    this.sendAs('message', message);
    this.#counts.sentMessages += 1;
  }

  /** Like `send()`, for the frames of admission too. */
  sendAs(kind: FrameKind, message: unknown): void {
    if (this.#state !== 'open') throw this.#outcome ?? closedError();
    const text = JSON.stringify(message);
    // JSON has no undefined: such a message is a defect of the caller.
    if (typeof text !== 'string') throw new TypeError('a message must be representable as JSON');
    const frame = encodeFrame(kind, text, this.#options.limits.maxFrameBytes);
    if (this.#outbox.push(frame)) return;
    const error = new CodedError('ERR_BUSY', 'the other side does not take its messages', {
      detail: { peer: this.remotePeerId, outgoingBytes: this.#outbox.bytes },
    });
    this.end(error);
    throw error;
  }

  async drained(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (this.#state === 'ended') throw this.#outcome ?? closedError();
    await this.#outbox.below(this.#options.limits.maxOutgoingBytes / 2, options);
  }

  receive(): AsyncIterable<unknown> {
    // Without `return()`: leaving a loop early does not end the session, whose owner may read on.
    const next = async (): Promise<IteratorResult<unknown, undefined>> => {
      const letter = await this.next('message');
      return letter === undefined ? { done: true, value: undefined } : { value: letter.value };
    };
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }

  /** The next frame, which must be of `kind` (else ERR_PROTOCOL, and the session ends); undefined after the last. */
  async next(
    kind: FrameKind,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<{ readonly value: unknown } | undefined> {
    const letter = await this.#take(options);
    if (letter === undefined) return undefined;
    if (letter.kind !== kind) {
      throw this.#failProtocol(`expected a frame of kind ${kind}, not ${letter.kind}`);
    }
    try {
      const value: unknown = JSON.parse(letter.text);
      return { value };
    } catch (error) {
      throw this.#failProtocol('a message is not JSON', error);
    }
  }

  /** From now on whoever waits for a message of the peer waits no longer than `stepMs`: then the session ends. */
  limitSteps(stepMs: number): void {
    this.#stepMs = stepMs;
  }

  /** The peer is no stranger any more. */
  trust(): void {
    this.#decoder.maxFrameBytes = this.#options.limits.maxFrameBytes;
  }

  async close(reason?: CodedError): Promise<void> {
    if (this.#state !== 'open') {
      await this.closed;
      return;
    }
    this.#state = 'closing';
    this.#outcome = reason;
    this.#inbox.end(undefined, { drop: true });
    this.#outbox.push(encodeBye(reason));
    await this.#leave();
  }

  /** Ends the session now: a word of goodbye if the channel takes it, and no waiting. */
  end(error: CodedError): void {
    if (this.#state === 'open' && this.#outbox.push(encodeBye(error))) this.#outbox.flush();
    this.#finish(error);
  }

  #beat(): void {
    if (this.#state === 'open' && this.#outbox.isIdle) {
      this.#outbox.push(encodeFrame('ping', '', 0));
    }
  }

  #onSilent(silentMs: number): void {
    const { onSilent } = this.#options;
    this.#finish(
      new CodedError('ERR_LINK', `the other side was silent for ${silentMs} ms`, {
        detail: { peer: this.remotePeerId, silentMs },
      }),
    );
    onSilent?.();
  }

  #write(bytes: Uint8Array): boolean {
    try {
      this.#counts.sentBytes += bytes.length;
      this.#heartbeat.sent();
      return this.#options.channel.send(bytes);
    } catch (error) {
      this.#finish(this.#lost(error));
      return false;
    }
  }

  #onBytes(bytes: Uint8Array): void {
    this.#counts.receivedBytes += bytes.length;
    this.#heartbeat.heard();
    try {
      for (const frame of this.#decoder.decode(bytes)) {
        if (this.#state === 'ended') return;
        this.#onFrame(frame);
      }
    } catch (error) {
      this.end(CodedError.from(error));
    }
  }

  #onFrame({ kind, payload }: Frame): void {
    if (kind === 'ping') return;
    const text = decodeText(payload);
    if (kind === 'bye') {
      this.#onBye(decodeBye(text));
      return;
    }
    if (kind === 'message') this.#counts.receivedMessages += 1;
    this.#inbox.push({ kind, text });
  }

  #onBye(reason: CodedError | undefined): void {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    this.#outcome = reason;
    this.#inbox.end(reason);
    void this.#leave();
  }

  #onRemoteEnd(): void {
    // A side that closes says so first; an end without a word is a process that died.
    if (this.#state === 'open') this.#finish(this.#lost(undefined));
  }

  #onChannelClose(error: Error | undefined): void {
    this.#finish(this.#state === 'closing' ? this.#outcome : this.#lost(error));
  }

  /** Lets what is queued leave, ends our direction, and waits for the other side to do the same. */
  async #leave(): Promise<void> {
    const { channel, clock, limits } = this.#options;
    using deadline = clock.deadline(limits.closeMs);
    try {
      await this.#outbox.below(1, deadline);
      await abortable(channel.close(deadline.signal), deadline.signal);
      await abortable(this.closed, deadline.signal);
    } catch {
      // Whatever is in the way of a farewell, the session ends below.
    } finally {
      this.#finish(this.#outcome);
    }
  }

  #finish(error: CodedError | undefined): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#outcome = error;
    this.#heartbeat[Symbol.dispose]();
    this.#outbox.end(error ?? closedError());
    this.#inbox.end(error);
    this.#options.channel.abort(error ?? closedError());
    this.#settleClosed(error);
  }

  async #take(options: { signal?: AbortSignal | undefined }): Promise<Letter | undefined> {
    const stepMs = this.#stepMs;
    if (stepMs === undefined) return this.#inbox.take(options);
    const timer = this.#options.clock.after(
      stepMs,
      () => this.end(new CodedError('ERR_TIMEOUT', `no message within ${stepMs} ms`)),
      { ref: false },
    );
    try {
      return await this.#inbox.take(options);
    } finally {
      timer.cancel();
    }
  }

  #failProtocol(message: string, cause?: unknown): CodedError {
    const error = new CodedError('ERR_PROTOCOL', message, {
      cause,
      detail: { peer: this.remotePeerId, protocol: this.protocol },
    });
    this.end(error);
    return error;
  }

  #lost(cause: unknown): CodedError {
    return new CodedError('ERR_LINK', 'the connection to the other side was lost', {
      cause,
      detail: { peer: this.remotePeerId },
    });
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function decodeText(payload: Uint8Array): string {
  try {
    return utf8.decode(payload);
  } catch (error) {
    throw new CodedError('ERR_PROTOCOL', 'a message is not UTF-8', { cause: error });
  }
}

function closedError(): CodedError {
  return new CodedError('ERR_LINK', 'the session is closed');
}
