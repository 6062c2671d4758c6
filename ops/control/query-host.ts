import type { Query, Values } from '../../core/wire/messages.ts';

/** Bounds of questions to hosts. */
export const queryLimits = {
  /** How long a host may take to answer, unless told. */
  timeoutMs: 2_000,
  maxTimeoutMs: 10_000,
  /** Queries at a time; past them ERR_BUSY. */
  running: 32,
} as const;

/** A connected host as queries see it. */
export interface QueryHost {
  /** Peer id. */
  readonly peer: string;
  /** False: it is older than queries, and would end its session at one. */
  readonly answersQueries: boolean;
  query(message: Query): void;
}

/** Who is told of hosts and of what they say of themselves when they are asked. */
export interface QueryListener {
  connected(host: QueryHost): void;
  /** A host that came back on another connection is another `QueryHost`: the former one is not missed. */
  disconnected(host: QueryHost): void;
  told(host: QueryHost, values: Values): void;
}
