import type { ByteChannel, ChannelListener } from './byte-channel.ts';

/** Two ends of a channel in memory; each holds at most `windowBytes` that the other side has not taken. */
export function memoryChannelPair(windowBytes = 262_144): [MemoryChannel, MemoryChannel] {
  const a = new MemoryChannel(windowBytes);
  const b = new MemoryChannel(windowBytes);
  a.connect(b);
  b.connect(a);
  return [a, b];
}

/** The twin of a libp2p stream: same promises, no sockets; delivery is in microtasks. */
export class MemoryChannel implements ByteChannel {
  readonly #windowBytes: number;
  #peer: MemoryChannel | undefined;
  #listener: ChannelListener | undefined;
  /** Sent by this side and not yet taken by the other. */
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #isPaused = false;
  #needsDrain = false;
  #ended = false;
  #endTold = false;
  #closed = false;
  #isCut = false;

  constructor(windowBytes: number) {
    this.#windowBytes = windowBytes;
  }

  connect(peer: MemoryChannel): void {
    this.#peer = peer;
  }

  /** Bytes on their way to the other side. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Loses everything from now on without telling anybody, as a pulled cable does. */
  cut(): void {
    this.#isCut = true;
  }

  listen(listener: ChannelListener): void {
    this.#listener = listener;
    queueMicrotask(() => this.#peer?.deliver());
  }

  send(bytes: Uint8Array): boolean {
    if (this.#ended || this.#closed) throw new Error('the channel is closed');
    if (this.#isCut) return true;
    this.#pending.push(bytes.slice());
    this.#pendingBytes += bytes.length;
    queueMicrotask(() => this.deliver());
    this.#needsDrain = this.#pendingBytes >= this.#windowBytes;
    return !this.#needsDrain;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    queueMicrotask(() => this.#peer?.deliver());
  }

  async close(): Promise<void> {
    this.#ended = true;
    queueMicrotask(() => this.deliver());
  }

  abort(error: Error): void {
    this.#finish(error);
    if (!this.#isCut) this.#peer?.finishRemotely();
  }

  /** Hands what is pending to the other side, as far as it listens. */
  deliver(): void {
    const target = this.#peer;
    if (target === undefined) return;
    while (target.canTake && this.#pending.length > 0) {
      const bytes = this.#pending.shift();
      if (bytes === undefined) break;
      this.#pendingBytes -= bytes.length;
      target.take(bytes);
    }
    if (this.#needsDrain && this.#pendingBytes < this.#windowBytes) {
      this.#needsDrain = false;
      this.#listener?.onDrain();
    }
    if (this.#ended && !this.#endTold && target.canTake && this.#pending.length === 0) {
      this.#endTold = true;
      target.takeEnd();
    }
  }

  get canTake(): boolean {
    return this.#listener !== undefined && !this.#isPaused && !this.#closed && !this.#isCut;
  }

  take(bytes: Uint8Array): void {
    this.#listener?.onBytes(bytes);
  }

  takeEnd(): void {
    this.#listener?.onRemoteEnd();
    if (this.#ended) {
      this.#finish(undefined);
      this.#peer?.finishRemotely();
    }
  }

  finishRemotely(): void {
    const bothEnded = this.#ended && this.#endTold;
    this.#finish(bothEnded ? undefined : new Error('reset by the other side'));
  }

  #finish(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#pending = [];
    this.#pendingBytes = 0;
    const listener = this.#listener;
    queueMicrotask(() => listener?.onClose(error));
  }
}
