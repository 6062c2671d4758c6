import type { Clock } from '../../core/base/clock.ts';
import type { Log } from '../../core/base/log.ts';
import type { SwarmTable } from '../swarm-table/swarm-table.ts';

/** Distinct accusers that a quarantine takes: one alone may be lying or broken itself. */
const QUORUM = 2;
const QUARANTINE_MS = 10 * 60_000;
const FORGET_MS = 30 * 60_000;

/** One host says that another sent it a wrong piece. */
export interface Accusation {
  readonly accuser: string;
  readonly accused: string;
  readonly task: string;
  readonly piece: number;
}

/** Evidence against hosts: two independent accusers keep a host from being offered for a while. */
export class Accusations {
  readonly #table: SwarmTable;
  readonly #clock: Clock;
  readonly #log: Log;

  constructor(parts: { readonly table: SwarmTable; readonly clock: Clock; readonly log: Log }) {
    this.#table = parts.table;
    this.#clock = parts.clock;
    this.#log = parts.log;
  }

  add(accusation: Accusation): void {
    const { accuser, accused, task, piece } = accusation;
    const host = this.#table.hosts.get(accused);
    const address = host?.addresses[0];
    this.#log.warn(
      { peer: accused, address, accuser, task, piece },
      'host accused of a wrong piece',
    );
    if (host === undefined) return;
    const now = this.#clock.monotonic();
    host.accusers.set(accuser, now);
    if (host.accusers.size < QUORUM || host.quarantinedUntilMs > now) return;
    host.quarantinedUntilMs = now + QUARANTINE_MS;
    this.#log.warn({ peer: accused, address, accusers: host.accusers.size }, 'host quarantined');
  }

  /** Forgets old accusations. */
  decay(): void {
    const now = this.#clock.monotonic();
    for (const host of this.#table.hosts.values()) {
      for (const [accuser, since] of host.accusers) {
        if (now - since > FORGET_MS) host.accusers.delete(accuser);
      }
    }
  }
}
