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
/** A check hashes a whole version: for one accuser a version once in this time, and so many versions at most. */
const CHECKS_MS = 10 * 60_000;
const MAX_CHECKS = 8;
/** Whoever accuses, a version is not hashed again sooner. */
const CHECK_MS = 60_000;

/** One host says that another sent it a wrong piece. */
export interface Accusation {
  readonly accuser: string;
  readonly accused: string;
  readonly task: string;
  readonly version: string;
  readonly piece: number;
}

/** Evidence against hosts: two independent accusers keep a host from being offered for a while. */
export class Accusations {
  readonly #table: SwarmTable;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Hosts with something against them, also when they are not connected: coming back clears nobody. */
  readonly #remembered = new LRUCache<string, HostEntry>({ max: MAX_REMEMBERED });
  /** By accuser, the versions that were checked because of it, and when. */
  readonly #asked = new LRUCache<string, Map<string, number>>({ max: MAX_REMEMBERED });
  /** When a version at a host was last checked. */
  readonly #checked = new LRUCache<string, number>({ max: MAX_REMEMBERED });

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

  /**
   * Takes an accusation down; true when the accused should hash the version again. Hashing costs far more than
   * accusing, so neither one accuser nor many can have it done over and over.
   */
  add(accusation: Accusation): boolean {
    const { accuser, accused, task, piece } = accusation;
    if (accuser === accused) return false;
    const isDoubted = this.#mayCheck(accusation);
    const host = this.#table.hosts.get(accused);
    const address = host?.addresses[0];
    if (isDoubted) {
      const facts = { peer: accused, address, accuser, task, piece };
      this.#log.warn(facts, 'host accused of a wrong piece');
    }
    if (host !== undefined) this.#hold(host, accuser);
    return isDoubted;
  }

  #hold(host: HostEntry, accuser: string): void {
    const now = this.#clock.monotonic();
    if (host.accusers.has(accuser) || host.accusers.size < MAX_ACCUSERS) {
      host.accusers.set(accuser, now);
    }
    this.#remembered.set(host.peer, host);
    if (host.accusers.size < QUORUM || host.quarantinedUntilMs > now) return;
    host.quarantinedUntilMs = now + QUARANTINE_MS;
    const facts = { peer: host.peer, address: host.addresses[0], accusers: host.accusers.size };
    this.#log.warn(facts, 'host quarantined');
  }

  #mayCheck({ accuser, accused, task, version }: Accusation): boolean {
    const now = this.#clock.monotonic();
    const key = `${accused}/${task}/${version}`;
    const asked = this.#asked.get(accuser) ?? new Map<string, number>();
    for (const [other, atMs] of asked) if (now - atMs >= CHECKS_MS) asked.delete(other);
    if (asked.has(key) || asked.size >= MAX_CHECKS) return false;
    const checkedMs = this.#checked.get(key) ?? Number.NEGATIVE_INFINITY;
    if (now - checkedMs < CHECK_MS) return false;
    this.#asked.set(accuser, asked.set(key, now));
    this.#checked.set(key, now);
    return true;
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
