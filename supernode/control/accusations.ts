import { LRUCache } from 'lru-cache';
import type { Clock } from '../../core/base/clock.ts';
import type { Log } from '../../core/base/log.ts';
import type { HostEntry, SwarmTable } from '../swarm-table/swarm-table.ts';

/** Distinct accusers that a quarantine takes: one alone may be lying or broken itself. */
const QUORUM = 2;
const QUARANTINE_MS = 10 * 60_000;
const FORGET_MS = 30 * 60_000;
/** More accusers than this say nothing new. */
const MAX_ACCUSERS = 64;
const MAX_REMEMBERED = 10_000;

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
  /** Hosts with something against them, also when they are not connected: coming back clears nobody. */
  readonly #remembered = new LRUCache<string, HostEntry>({ max: MAX_REMEMBERED });

  constructor(parts: { readonly table: SwarmTable; readonly clock: Clock; readonly log: Log }) {
    this.#table = parts.table;
    this.#clock = parts.clock;
    this.#log = parts.log;
  }

  /** Holds against a host that has come back what was known before. */
  recall(host: HostEntry): void {
    const former = this.#remembered.get(host.peer);
    if (former === undefined) return;
    for (const [accuser, since] of former.accusers) host.accusers.set(accuser, since);
    host.quarantinedUntilMs = former.quarantinedUntilMs;
    this.#remembered.set(host.peer, host);
  }

  add(accusation: Accusation): void {
    const { accuser, accused, task, piece } = accusation;
    const host = this.#table.hosts.get(accused);
    const address = host?.addresses[0];
    this.#log.warn(
      { peer: accused, address, accuser, task, piece },
      'host accused of a wrong piece',
    );
    if (host === undefined || accuser === accused) return;
    const now = this.#clock.monotonic();
    if (host.accusers.has(accuser) || host.accusers.size < MAX_ACCUSERS) {
      host.accusers.set(accuser, now);
    }
    this.#remembered.set(accused, host);
    if (host.accusers.size < QUORUM || host.quarantinedUntilMs > now) return;
    host.quarantinedUntilMs = now + QUARANTINE_MS;
    this.#log.warn({ peer: accused, address, accusers: host.accusers.size }, 'host quarantined');
  }

  /** Forgets old accusations. */
  decay(): void {
    const now = this.#clock.monotonic();
    for (const [peer, host] of this.#remembered) {
      for (const [accuser, since] of host.accusers) {
        if (now - since > FORGET_MS) host.accusers.delete(accuser);
      }
      if (host.accusers.size === 0 && host.quarantinedUntilMs <= now) this.#remembered.delete(peer);
    }
  }
}
