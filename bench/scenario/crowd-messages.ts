/** What a process of light hosts is told to do; hosts are counted from 0 in each process. */
export type CrowdOrder =
  | ({ readonly do: 'connect' } & ConnectOrder)
  | ({ readonly do: 'take' } & TakeOrder)
  | { readonly do: 'whole'; readonly url: string }
  | { readonly do: 'ask'; readonly url: string; readonly host: number }
  | { readonly do: 'blame'; readonly url: string; readonly host: number; readonly parent: string }
  | { readonly do: 'peers' }
  | { readonly do: 'parents'; readonly url: string }
  | { readonly do: 'traffic' }
  | { readonly do: 'calls' }
  | { readonly do: 'returned'; readonly sinceMs: number };

/** Hosts that join and connect, so many at a time. */
export interface ConnectOrder {
  readonly joinToken: string;
  readonly hosts: number;
  readonly parallel: number;
  /** True: they answer calls. */
  readonly takesCalls?: boolean;
}

/** Hosts that take one URL. */
export interface TakeOrder {
  readonly url: string;
  /** Half-open. */
  readonly hosts: { readonly start: number; readonly end: number };
  readonly piecesPerSecond: number;
  /** They come evenly spread over this time; 0: at once. */
  readonly overMs: number;
}

/** Sums over the hosts of a process; bytes are those of frames, without noise and yamux. */
export interface CrowdTraffic {
  readonly sentMessages: number;
  readonly sentBytes: number;
  readonly receivedMessages: number;
  readonly receivedBytes: number;
}

/** When a host was back after the supernode went away: everything that it holds was taken in. */
export interface Returned {
  /** Milliseconds since the epoch; undefined: not yet. */
  readonly atMs: number | undefined;
  /** It downloads something. */
  readonly isRunning: boolean;
}

/** What the orders are answered with. */
export interface CrowdAnswers {
  readonly connect: { readonly milliseconds: readonly number[] };
  readonly take: { readonly milliseconds: readonly number[] };
  readonly whole: { readonly failed: number };
  readonly ask: { readonly parents: readonly string[] };
  readonly blame: Record<never, never>;
  readonly peers: { readonly peers: readonly string[] };
  readonly parents: { readonly parents: readonly (readonly string[])[] };
  readonly traffic: CrowdTraffic;
  /** Of all hosts of the process. */
  readonly calls: { readonly ran: number; readonly doubled: number };
  readonly returned: { readonly hosts: readonly Returned[] };
}

/** An order on its way. */
export interface CrowdCall {
  readonly id: number;
  readonly order: CrowdOrder;
}

/** What comes back. */
export type CrowdReply =
  | { readonly id: number; readonly answer: object }
  | { readonly id: number; readonly error: string };
