import type { Compression } from '../../compression/compression.ts';
import { CodedError } from '../../base/error.ts';
import {
  FLAG_BEING_SENT,
  FLAG_IF_WAITING,
  MAX_PIECES,
  UNKNOWN_PIECES,
  frameTypes,
  protocolError,
  readRequestFlags,
} from './frame.ts';
import type { FrameHeader } from './frame.ts';
import type { LinkTrust } from './link-identity.ts';
import type { LinkWire } from './link-wire.ts';
import { parseManifest, parseTicketPayload } from './messages.ts';
import type { Open } from './messages.ts';
import { Outbox } from './outbox.ts';
import type { Announcement } from './outbox.ts';
import type { ServedTask } from './served-task.ts';
import { keyOf } from './task-version.ts';
import type { UploadForms } from './upload-block.ts';
import type { Uploads } from './uploads.ts';

/** A piece that was sent. */
export interface SentPiece {
  readonly peerId: string;
  readonly task: string;
  readonly version: string;
  readonly piece: number;
  readonly bytes: number;
  readonly ms: number;
}

/** Manifest batches that a child passed on, not verified. */
export interface OfferedManifest {
  readonly peerId: string;
  readonly task: string;
  readonly version: string;
  readonly batches: readonly string[];
}

/** What a served channel needs of its link. */
export interface ServedChannelContext {
  readonly task: ServedTask;
  readonly wire: LinkWire;
  readonly uploads: Uploads;
  /** Present when the child takes compressed units. */
  readonly compression: Compression | undefined;
  /** The number of the channel is free again. */
  readonly onReleased: () => void;
  readonly onSent: (sent: SentPiece) => void;
  readonly onOffered: (offered: OfferedManifest) => void;
}

/** A task that the other side has opened here. */
export class ServedChannel {
  readonly number: number;
  readonly task: string;
  readonly version: string;
  readonly peerId: string;
  readonly #context: ServedChannelContext;
  readonly #served: ServedTask;
  readonly #wire: LinkWire;
  readonly #outbox: Outbox;
  readonly #forms: UploadForms | undefined;
  #ticket: string;
  #isClosing = false;

  /** Answers OPENED; the ticket has been verified. */
  constructor(number: number, open: Open, context: ServedChannelContext) {
    this.number = number;
    this.task = open.task;
    this.version = open.version;
    this.peerId = context.wire.peerId;
    this.#ticket = open.ticket;
    this.#context = context;
    this.#wire = context.wire;
    this.#served = context.task;
    this.#forms = formsOf(this, context);
    this.#outbox = new Outbox(number, () => context.uploads.queued);
    const pieces = this.#served.pieceCount();
    const map = this.#served.haveMap();
    this.#send(
      frameTypes.opened,
      { a: pieces ?? UNKNOWN_PIECES, b: this.#served.pieceLength },
      map.subarray(0, Math.ceil((pieces ?? MAX_PIECES) / 8)),
    );
    const offers = this.#served.offers?.() ?? [];
    if (offers.length > 0) this.announce(offers, 'offer');
  }

  /** Tells the child of pieces that it may now ask for, or no longer. */
  announce(pieces: readonly number[], what: Announcement): void {
    if (this.#isClosing) return;
    if (!this.#outbox.announce(pieces, what)) this.#wire.fail('too many announcements wait');
    else this.#wire.flush(this.#outbox);
  }

  offer(batches: readonly string[]): void {
    if (this.#isClosing) return;
    if (!this.#outbox.offer(batches)) this.#wire.fail('too many announcements wait');
    else this.#wire.flush(this.#outbox);
  }

  /** Ends the channel with a code for the child. */
  close(error: CodedError): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#context.uploads.cancel(this.#wire, this.number);
    this.#send(frameTypes.close, {}, error.code);
  }

  /** Closes the channel when its ticket holds no longer. */
  recheck(trust: LinkTrust): void {
    const { peerId, task, version } = this;
    try {
      trust.verifyTicket(this.#ticket, { child: peerId, task, version });
    } catch (error) {
      this.close(new CodedError('ERR_TICKET', 'the ticket holds no longer', { cause: error }));
    }
  }

  /** A frame of the child for this channel; throws ERR_PROTOCOL. */
  onFrame(header: FrameHeader, payload: Uint8Array): void {
    if (header.type === frameTypes.close) {
      if (!this.#isClosing) this.#send(frameTypes.close);
      this.#isClosing = true;
      this.#context.uploads.cancel(this.#wire, this.number);
      this.#context.onReleased();
    } else if (!this.#isClosing) this.#onOpenFrame(header, payload);
  }

  #onOpenFrame(header: FrameHeader, payload: Uint8Array): void {
    switch (header.type) {
      case frameTypes.request:
        this.#onRequest(header);
        return;
      case frameTypes.cancel:
        this.#onCancel(header);
        return;
      case frameTypes.manifestAsk:
        this.#onManifestAsk();
        return;
      case frameTypes.manifest: {
        const { peerId, task, version } = this;
        this.#context.onOffered({ peerId, task, version, batches: parseManifest(payload) });
        return;
      }
      case frameTypes.ticket:
        this.#ticket = parseTicketPayload(payload);
        return;
      default:
        throw protocolError(`a child sent a frame of type ${header.type}`);
    }
  }

  #onCancel({ a: piece, flags }: FrameHeader): void {
    const { uploads } = this.#context;
    if ((flags & FLAG_IF_WAITING) === 0) uploads.cancel(this.#wire, this.number, piece);
    else if (!uploads.withdraw(this.#wire, this.number, piece)) {
      this.#send(frameTypes.cancelled, { flags: FLAG_BEING_SENT, a: piece });
      return;
    }
    this.#send(frameTypes.cancelled, { a: piece });
  }

  #onManifestAsk(): void {
    try {
      this.offer(this.#served.manifest());
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      this.close(error);
    }
  }

  #onRequest(header: FrameHeader): void {
    const { a: piece, b: length } = header;
    const { uploads } = this.#context;
    if (uploads.has(this.#wire, this.number, piece))
      throw protocolError('a piece is asked for twice');
    const refusal = this.#refusalOf(piece, length);
    if (refusal !== undefined) {
      this.#send(frameTypes.miss, { a: piece }, refusal);
      return;
    }
    const { isRaw, ...asked } = readRequestFlags(header.flags);
    const isTaken = uploads.add(this.#wire, {
      channel: this.number,
      piece,
      length,
      ...asked,
      task: this.#served,
      forms: isRaw ? undefined : this.#forms,
      onSent: (ms) => {
        const { peerId, task, version } = this;
        this.#context.onSent({ peerId, task, version, piece, bytes: length, ms });
      },
      onMiss: (error) => this.#send(frameTypes.miss, { a: piece }, error.code),
    });
    if (!isTaken) this.#send(frameTypes.busy, { a: piece, b: uploads.retryAfterMs() });
  }

  /** Why a piece is not sent, if so. */
  #refusalOf(piece: number, length: number): string | undefined {
    try {
      const pieces = this.#served.pieceCount() ?? MAX_PIECES;
      if (piece >= pieces || !this.#served.has(piece)) return 'ERR_NOT_FOUND';
      // Both sides hold the signed manifest of one version, so one of them is mistaken.
      const isRight = length > 0 && this.#served.lengthOf(piece) === length;
      return isRight ? undefined : 'ERR_MANIFEST';
    } catch (error) {
      if (error instanceof CodedError) return error.code;
      throw error;
    }
  }

  #send(
    type: number,
    fields: { flags?: number; a?: number; b?: number } = {},
    payload?: Uint8Array | string,
  ): void {
    this.#wire.send({ type, channel: this.number, ...fields }, payload);
  }
}

/** How units of a task go to a child that takes them compressed. */
function formsOf(
  about: { readonly task: string; readonly version: string },
  { task, compression }: ServedChannelContext,
): UploadForms | undefined {
  if (compression === undefined) return undefined;
  const source = {
    key: keyOf(about),
    mediaType: () => task.mediaType?.(),
    has: (piece: number) => task.has(piece),
    read: (piece: number, offset: number, target: Uint8Array) => task.read(piece, offset, target),
  };
  return {
    formOf: (unit, linkRate) => compression.formOf(source, unit, linkRate),
    expect: (unit, linkRate) => compression.expect(source, unit, linkRate),
    sent: (rawBytes, bytes) => compression.sent(rawBytes, bytes),
  };
}
