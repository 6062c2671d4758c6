import type { CodedError } from '../../base/error.ts';

/** Counters of one session; bytes are those of frames, headers included. */
export interface SessionStats {
  readonly sentMessages: number;
  readonly sentBytes: number;
  readonly receivedMessages: number;
  readonly receivedBytes: number;
  /** Waiting to be sent. */
  readonly outgoingBytes: number;
  /** Waiting to be read. */
  readonly incomingBytes: number;
}

/** An authenticated conversation with one peer in JSON messages. It lives until one side closes it. */
export interface MeshSession {
  /** Proven by the handshake of the connection. */
  readonly remotePeerId: string;
  /** IP address, without port. */
  readonly remoteAddress: string;
  readonly protocol: string;
  /** What the dialer said first, on protocols for members. */
  readonly hello: unknown;
  /** What the listener answered to that. */
  readonly welcome: unknown;
  /**
   * Queues a message. Throws ERR_BUSY when the queue is full, which ends the session; ERR_PROTOCOL when the message
   * is larger than a frame; else the reason for which the session has ended.
   */
  send(message: unknown): void;
  /** Resolves once less than half of the outgoing queue waits: who has much to say asks before each message. */
  drained(options?: { signal?: AbortSignal | undefined }): Promise<void>;
  /** The messages in order, for one reader; ends when the session closed well, else throws the reason. */
  receive(): AsyncIterable<unknown>;
  /** Resolves once, when the session has ended: with the reason, or undefined when it closed well. */
  readonly closed: Promise<CodedError | undefined>;
  /** Sends what is queued, says goodbye (with `reason`, if any), and waits for the other side, shortly. */
  close(reason?: CodedError): Promise<void>;
  readonly stats: SessionStats;
}
