/** Bounds and times of an endpoint. */
export interface LinkLimits {
  /** Connections, both directions; past it idle links are closed, then new connections refused. */
  readonly maxLinks: number;
  /** Accepted connections that have not proven to be members; further ones are refused. */
  readonly maxUnauthenticated: number;
  /** Dials under way; further ones fail with ERR_BUSY. */
  readonly maxDials: number;
  /** Links of one peer; further ones are refused. */
  readonly maxLinksPerPeer: number;
  /** Channels of one link that one side has open; further ones are refused with ERR_BUSY. */
  readonly maxChannels: number;
  /** Requests of one link waiting here; further ones are answered BUSY. */
  readonly maxQueuedRequests: number;
  /** Links sent to at a time; the others wait for their turn. */
  readonly maxActiveUploads: number;
  /** Blocks of 256 KiB on their way to sockets, those of slow readers included. */
  readonly maxUploadBlocks: number;
  /** Bytes other than blocks that wait in one socket; past it the link is closed. */
  readonly maxBacklogBytes: number;
  /** From the connection to the verified HELLO. */
  readonly handshakeMs: number;
  /** Between the starts of dials to several addresses of one peer. */
  readonly dialStaggerMs: number;
  /** Longest dial to a peer whose own link would do. */
  readonly dialBesideMs: number;
  /** Silence, while an answer is due, after which a PING is sent. */
  readonly pingAfterMs: number;
  /** Silence, while an answer is due, after which the link is closed; longer on a slow line that many share. */
  readonly silentMs: number;
  /** How often silence is looked at; time beyond it by more than `lagMs` is our own lag and does not count. */
  readonly tickMs: number;
  readonly lagMs: number;
  /** A link without channels is closed after this. */
  readonly idleMs: number;
  /** A reader is judged slow after this part of its turn at the earliest. */
  readonly slowMs: number;
  /** A block not taken by its reader for this long closes the link. */
  readonly stallMs: number;
  /** How often records and tickets of open links are looked at again. */
  readonly recheckMs: number;
  /** What GOODBYE may take to arrive before the socket is cut. */
  readonly lingerMs: number;
}

/** The limits that are not given to an endpoint. */
export const defaultLinkLimits: LinkLimits = {
  maxLinks: 512,
  maxUnauthenticated: 128,
  maxDials: 64,
  maxLinksPerPeer: 8,
  maxChannels: 256,
  maxQueuedRequests: 128,
  maxActiveUploads: 4,
  maxUploadBlocks: 64,
  maxBacklogBytes: 2_097_152,
  handshakeMs: 5_000,
  dialStaggerMs: 250,
  dialBesideMs: 1_000,
  pingAfterMs: 1_000,
  silentMs: 3_000,
  tickMs: 250,
  lagMs: 250,
  idleMs: 60_000,
  slowMs: 500,
  stallMs: 60_000,
  recheckMs: 60_000,
  lingerMs: 1_000,
};
