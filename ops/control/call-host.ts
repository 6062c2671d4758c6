import type {
  Call,
  CallOutput,
  CallStates,
  CallStop,
  CallsHeard,
} from '../../core/wire/messages.ts';

/** A connected host as calls see it. */
export interface CallHost {
  /** Peer id. */
  readonly peer: string;
  readonly hostname?: string | undefined;
  readonly idc?: string | undefined;
  /** False: it takes no calls, and would end its session at one. */
  readonly takesCalls: boolean;
  call(message: Call | CallStop | CallsHeard): void;
}

/** Who is told of hosts and of what becomes of their calls. */
export interface CallListener {
  connected(host: CallHost): void;
  /** A host that came back on another connection is another `CallHost`: the former one is not missed. */
  disconnected(host: CallHost): void;
  told(host: CallHost, states: CallStates): void;
  wrote(host: CallHost, output: CallOutput): void;
}
