/** The bounds of a mesh node. Times are in milliseconds. */
export interface MeshLimits {
  /** Largest frame, sent or received, without its header. */
  readonly maxFrameBytes: number;
  /** The same for what a peer sends before it is let in, and for all that it sends on a protocol of anyone. */
  readonly maxStrangerFrameBytes: number;
  /** What may wait to be sent in one session; past it the session ends with ERR_BUSY. */
  readonly maxOutgoingBytes: number;
  /** What may wait to be read in one session; past it the sender is slowed down. */
  readonly maxIncomingBytes: number;
  /** A quiet session says so often that it lives. */
  readonly keepAliveMs: number;
  /** So many missed signs of life in a row end a session, and the connection under it. */
  readonly maxMissedKeepAlives: number;
  /** Longest wait for each step of a stranger, and for each step of admission. */
  readonly stepMs: number;
  /** How long a connection may live without an admitted session. */
  readonly strangerMs: number;
  /** How long a connection may live without any session. */
  readonly idleConnectionMs: number;
  /** Longest time from an accepted socket to an encrypted connection. */
  readonly upgradeMs: number;
  /** Longest time from a call of `dial()` to an open session. */
  readonly dialMs: number;
  /** How long a session that closes waits for the other side. */
  readonly closeMs: number;
  /** Connections of members; past it a member is told ERR_BUSY. */
  readonly maxConnections: number;
  /** Connections that no member has (yet) shown itself on, those still shaking hands included. */
  readonly maxStrangers: number;
  /** The same, from one address: less than all of them, so that no single host can keep others out. */
  readonly maxStrangersPerAddress: number;
  /** New connections a second from one address. */
  readonly maxConnectionRate: number;
  /** Streams that one side may open on one connection; a session is one stream. */
  readonly maxStreams: number;
}

/** What holds unless a caller says otherwise. */
export const defaultMeshLimits: MeshLimits = {
  maxFrameBytes: 1_048_576,
  maxStrangerFrameBytes: 65_536,
  maxOutgoingBytes: 4_194_304,
  maxIncomingBytes: 262_144,
  keepAliveMs: 5_000,
  maxMissedKeepAlives: 3,
  stepMs: 5_000,
  strangerMs: 30_000,
  idleConnectionMs: 5_000,
  // 500 hosts that come at once cost 2.5 s of CPU in handshakes: the last one must not be given up by then.
  upgradeMs: 10_000,
  dialMs: 10_000,
  closeMs: 500,
  maxConnections: 2_000,
  maxStrangers: 512,
  maxStrangersPerAddress: 128,
  maxConnectionRate: 1_000,
  maxStreams: 16,
};
