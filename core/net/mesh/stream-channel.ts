import type { Stream } from '@libp2p/interface';
import type { ByteChannel, ChannelListener } from './byte-channel.ts';
import { grantInBulk } from './stream-window.ts';

/**
 * A libp2p stream as a channel. Events and not its async iterator: that one queues without bound for a slow reader,
 * while a paused stream makes yamux hold the sender back after one window.
 */
export class StreamChannel implements ByteChannel {
  readonly #stream: Stream;

  constructor(stream: Stream) {
    this.#stream = stream;
    grantInBulk(stream);
  }

  listen(listener: ChannelListener): void {
    const stream = this.#stream;
    stream.addEventListener('message', ({ data }) => {
      if (data instanceof Uint8Array) listener.onBytes(data);
      else for (const part of data) listener.onBytes(part);
    });
    // Not at once: libp2p tells of it from inside its own send, and what is sent from there piles up in its buffer.
    // And not while that buffer holds something: each window of the other side is told, and a frame takes several.
    const onRoom = (): void => {
      queueMicrotask(() => {
        if (stream.writeBufferLength === 0 && !stream.writableNeedsDrain) listener.onDrain();
      });
    };
    stream.addEventListener('drain', onRoom);
    stream.addEventListener('idle', onRoom);
    stream.addEventListener('remoteCloseWrite', () => listener.onRemoteEnd());
    stream.addEventListener('close', ({ error }) => {
      // What came before the end and was held back is small (one window) and may hold the goodbye.
      if (stream.readBufferLength > 0) this.resume();
      listener.onClose(error);
    });
    if (stream.status !== 'open') queueMicrotask(() => listener.onClose(undefined));
    else if (stream.remoteWriteStatus !== 'writable') queueMicrotask(() => listener.onRemoteEnd());
  }

  send(bytes: Uint8Array): boolean {
    return this.#stream.send(bytes) && this.#stream.writeBufferLength === 0;
  }

  pause(): void {
    if (this.#stream.readStatus === 'readable') this.#stream.pause();
  }

  resume(): void {
    try {
      if (this.#stream.readStatus === 'paused') this.#stream.resume();
    } catch {
      // The muxer is gone, so the window update found nobody; what was held back has been delivered before.
    }
  }

  async close(signal: AbortSignal): Promise<void> {
    await this.#stream.close({ signal });
  }

  abort(error: Error): void {
    this.#stream.abort(error);
  }
}
