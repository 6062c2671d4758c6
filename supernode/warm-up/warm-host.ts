import type { Warm, WarmState, WarmStop } from '../../core/wire/messages.ts';
import type { Candidate } from './target.ts';

/** A connected host, or the seed of this supernode, as warm-ups see it. */
export interface WarmHost extends Candidate {
  readonly hostname?: string | undefined;
  /** False: an older version, which would end its session at an order. */
  readonly takesOrders: boolean;
  order(message: Warm | WarmStop): void;
}

/** Who is told of hosts and of what becomes of their orders. */
export interface WarmListener {
  connected(host: WarmHost): void;
  /** A host that came back on another connection is another `WarmHost`: the former one is not missed. */
  disconnected(host: WarmHost): void;
  warmed(host: WarmHost, states: readonly WarmState[]): void;
}
