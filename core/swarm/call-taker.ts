import type { HostKey } from '../identity/host-key.ts';
import type { AgeLimit } from '../identity/revocation-age.ts';
import type { Call, CallStop, CallsHeard, FromHost, HostFacts } from '../wire/messages.ts';

/** What a host that takes calls has of its cell. */
export interface CallWay {
  readonly key: HostKey;
  /** Id of the cell; undefined before this host has joined one. */
  readonly cell: string | undefined;
  /** Cell time, ms. */
  now(): number;
  /** True when the cell does not trust this key any more, whatever it was. */
  isRevoked(peerId: string): boolean;
  /** Why what this host knows of revocations may not be what is in force; undefined when it is young enough. */
  staleness(limit: AgeLimit): string | undefined;
  /** Lost while no supernode is connected. */
  send(message: FromHost): void;
  /** As `send()`, once the supernode has taken what was sent before; rejects when the connection ends meanwhile. */
  sendInTurn(message: FromHost): Promise<void>;
}

/** Who acts on calls that come for this host. */
export interface CallTaker extends AsyncDisposable {
  /** Calls that wait or run. */
  readonly active: number;
  /** A supernode is connected (again): it is told what runs, and what has ended that it has not heard of. */
  onConnected(): void;
  /** How it runs calls, for the facts of this host. */
  readonly facts?: HostFacts;
  take(message: Call | CallStop | CallsHeard): void;
}
