/** What a channel tells its one user. */
export interface ChannelListener {
  /** Bytes came; they are valid during the call only. */
  onBytes(bytes: Uint8Array): void;
  /** After a `send()` that returned false: there is room again. */
  onDrain(): void;
  /** The other side sends no more. */
  onRemoteEnd(): void;
  /** The channel is gone, in both directions. */
  onClose(error: Error | undefined): void;
}

/** The ordered, reliable bytes under a session: a libp2p stream, or its twin in memory. */
export interface ByteChannel {
  /** Starts delivery; called once. */
  listen(listener: ChannelListener): void;
  /** Takes all of `bytes`; false means: send no more before `onDrain()`. Throws when the channel is closed. */
  send(bytes: Uint8Array): boolean;
  /** Stops delivery; the sender is slowed down once the window is used up. */
  pause(): void;
  resume(): void;
  /** Ends the own direction, after everything sent has left. */
  close(signal: AbortSignal): Promise<void>;
  /** Drops everything at once, in both directions; harmless when closed. */
  abort(error: Error): void;
}
