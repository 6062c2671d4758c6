import type { Clock } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import { encodeFrame, frameTypes } from './frame.ts';
import type { FrameFields } from './frame.ts';
import type { LinkSocket } from './link-socket.ts';
import type { Outbox } from './outbox.ts';
import type { UploadLane } from './upload-lane.ts';

/** The outgoing side of an authenticated link, as its channels and the uploads use it. Says nothing once closed. */
export class LinkWire implements UploadLane {
  /** The peer at the other end. */
  readonly peerId: string;
  readonly clock: Clock;
  readonly #socket: LinkSocket;
  readonly #onBroken: (error: CodedError) => void;
  readonly #unsent = new Set<Outbox>();
  #isClosed = false;
  #isPaused = false;

  /** `onBroken` is told when the other side does not read what it is sent, or sends what is wrong. */
  constructor(
    peerId: string,
    options: { socket: LinkSocket; clock: Clock; onBroken: (error: CodedError) => void },
  ) {
    this.peerId = peerId;
    this.clock = options.clock;
    this.#socket = options.socket;
    this.#onBroken = options.onBroken;
    this.#socket.onDrain(() => this.#flushAll());
  }

  /** True while we ourselves leave what comes in the kernel. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  send(fields: FrameFields, payload?: Uint8Array | string): void {
    if (!this.#isClosed) this.#write(encodeFrame(fields, payload));
  }

  /** Sends what is in the outbox, as fast as the other side takes it. */
  flush(outbox: Outbox): void {
    if (this.#isClosed) return;
    this.#unsent.add(outbox);
    this.#flushAll();
  }

  /** Stops reading; the sender is slowed by TCP. */
  pauseReads(): void {
    if (this.#isClosed || this.#isPaused) return;
    this.#isPaused = true;
    this.#socket.pause();
  }

  resumeReads(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (!this.#isClosed) this.#socket.resume();
  }

  writeBlock(block: Uint8Array, onFlushed: () => void): void {
    if (!this.#isClosed) this.#socket.sendBlock(block, onFlushed);
  }

  ping(token: number): void {
    this.send({ type: frameTypes.ping, a: token });
  }

  setRecordBytes(bytes: number): void {
    this.#socket.setRecordBytes(bytes);
  }

  onStalled(): void {
    this.fail('a block of a piece is not read');
  }

  /** Closes the link because of what came of the other side. */
  broken(error: unknown): void {
    if (!this.#isClosed) this.#onBroken(CodedError.from(error));
  }

  /** Closes the link because the other side does not read. */
  fail(reason: string): void {
    if (this.#isClosed) return;
    const detail = { peer: this.peerId, reason };
    this.#onBroken(new CodedError('ERR_LINK', 'the peer does not read', { detail }));
  }

  close(): void {
    this.#isClosed = true;
    this.#unsent.clear();
  }

  #flushAll(): void {
    for (const outbox of this.#unsent) {
      for (;;) {
        if (this.#socket.isDraining || this.#isClosed) return;
        const frame = outbox.next();
        if (frame === undefined) break;
        this.#write(frame);
      }
      this.#unsent.delete(outbox);
    }
  }

  #write(frame: Buffer): void {
    if (!this.#socket.send(frame)) this.fail('too many bytes wait');
  }
}
