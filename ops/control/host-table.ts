// The hosts of the cell, all in memory. Rows of a host have owners of their own, so that no write can undo another:
// `host/PEER` is what it said of itself, written here when that has changed; `host-labels/PEER` and `host-retired/PEER`
// are changes that went through the door; `host-seen/PEER` is when it was here, written once an hour and at the end.
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { Expectation, StateChange, StateStore } from '../../core/store/state-store.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { Effect } from './door-effect.ts';
import { labelLimits, Labels } from './host-labels.ts';
import type { LabelChange } from './host-labels.ts';
import { hostLimits, HostRow, Retirement, SeenRow } from './host-record.ts';
import type { HostListener, KnownHost, PresentHost } from './host-record.ts';
import { HostWriter } from './host-writer.ts';

/** Who is out of the cell, and how somebody is put out of it. */
export interface Revocations {
  isRevoked(peer: string): boolean;
  /** Of the cell map in force; undefined while there is none. */
  epoch(): number | undefined;
  /** Throws ERR_BUSY when there is no room to put this one out too. */
  checkRoom(peer: string): void;
  /** For good; resolves when that is on the disk and its connections have ended. */
  revoke(peer: string): Promise<void>;
}

export interface HostTableParts {
  readonly state: StateStore;
  readonly revocations: Revocations;
  /** Default `hostLimits.hosts`. */
  readonly maxHosts?: number;
  readonly clock: Clock;
  readonly log: Log;
}

const parseRow = parser(HostRow, { code: 'ERR_STORE_IO' });
const parseLabels = parser(Labels, { code: 'ERR_STORE_IO' });
const parseRetirement = parser(Retirement, { code: 'ERR_STORE_IO' });
const parseSeen = parser(SeenRow, { code: 'ERR_STORE_IO' });

interface Entry {
  readonly peer: string;
  row: HostRow;
  labels: Labels;
  lastSeen: number;
  retired: Retirement | undefined;
  present: PresentHost | undefined;
}

/** Every host that was ever connected, as far as there is room. */
export class HostTable implements HostListener, AsyncDisposable {
  readonly #parts: HostTableParts;
  readonly #entries = new Map<string, Entry>();
  readonly #writer: HostWriter;
  #isFull = false;

  private constructor(parts: HostTableParts) {
    this.#parts = parts;
    this.#writer = new HostWriter({
      ...parts,
      changesOf: (peer) => this.#changesOf(peer),
      present: () => this.#present(),
      seenOf: (peer) => this.#seenOf(peer),
    });
  }

  /** Loads what is known, and puts out of the cell who was retired and may not be out yet. */
  static async open(parts: HostTableParts): Promise<HostTable> {
    const table = new HostTable(parts);
    try {
      await table.#load();
      await table.#endRetired();
      return table;
    } catch (error) {
      await table[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Hosts that are known. */
  get size(): number {
    return this.#entries.size;
  }

  find(peer: string): KnownHost | undefined {
    const entry = this.#entries.get(peer);
    return entry === undefined ? undefined : viewOf(entry);
  }

  /** What selectors ask for, of a great many hosts. */
  traitsOf(peer: string): Pick<KnownHost, 'labels' | 'facts'> | undefined {
    const entry = this.#entries.get(peer);
    return entry === undefined ? undefined : { labels: entry.labels, facts: entry.row.facts };
  }

  /** In no order. */
  *all(): Generator<KnownHost, void, undefined> {
    for (const entry of this.#entries.values()) yield viewOf(entry);
  }

  /** True for who is out of the cell, by whatever way. */
  isRetired(peer: string): boolean {
    return (
      this.#entries.get(peer)?.retired !== undefined || this.#parts.revocations.isRevoked(peer)
    );
  }

  /** Those that a name or a peer id means; of several of one name those that are not retired. */
  named(name: string): KnownHost[] {
    const byPeer = this.find(name);
    if (byPeer !== undefined) return [byPeer];
    return [...this.all()].filter(
      ({ peer, hostname }) => hostname === name && !this.isRetired(peer),
    );
  }

  connected(host: PresentHost): void {
    const { peer } = host;
    const now = Math.round(this.#parts.clock.now());
    const former = this.#entries.get(peer);
    if (former === undefined && !this.#makeRoom()) return;
    const row = rowOf(host, former?.row.firstSeen ?? now);
    if (former === undefined || !isSame(former.row, row)) this.#writer.changed(peer);
    const entry = former ?? { peer, row, labels: {}, retired: undefined };
    this.#entries.set(peer, Object.assign(entry, { row, lastSeen: now, present: host }));
    this.#writer.seen(peer);
  }

  disconnected(host: PresentHost): void {
    const entry = this.#entries.get(host.peer);
    if (entry?.present !== host) return;
    entry.present = undefined;
    entry.lastSeen = Math.round(this.#parts.clock.now());
    this.#writer.seen(host.peer);
  }

  /** Other labels for hosts that are known; ERR_REQUEST when one of them would have too many. */
  async label(
    peers: readonly string[],
    { set = {}, remove = [] }: LabelChange,
  ): Promise<Effect<{ readonly hosts: number; readonly changed: number }>> {
    const changes: StateChange[] = [];
    const expect: Expectation[] = [];
    const next = new Map<string, Labels>();
    for (const peer of peers) {
      const key = labelsKey(peer);
      const stored = await this.#parts.state.get(key);
      const labels = stored === undefined ? {} : parseLabels(stored.value);
      const kept = Object.entries(labels).filter(([name]) => !remove.includes(name));
      const wanted = sorted({ ...Object.fromEntries(kept), ...set });
      if (Object.keys(wanted).length > labelLimits.each) {
        const message = `set: a host has at most ${labelLimits.each} labels`;
        throw new CodedError('ERR_REQUEST', message, { detail: { path: 'set' } });
      }
      expect.push({ key, revision: stored?.revision ?? 0 });
      if (isSame(sorted(labels), wanted)) continue;
      changes.push({ type: 'put', key, value: wanted }, ...this.#unwritten(peer));
      next.set(peer, wanted);
    }
    return {
      changes,
      expect,
      detail: { hosts: peers.length, changed: next.size, set, remove },
      answer: () => {
        for (const [peer, labels] of next) {
          const entry = this.#entries.get(peer);
          if (entry !== undefined) entry.labels = labels;
        }
        return { hosts: peers.length, changed: next.size };
      },
    };
  }

  /**
   * Leaves of a host what is known of it, and no more: whoever commits this puts it out by `putOut()`. ERR_NOT_FOUND, and
   * ERR_BUSY when the cell could not put it out.
   */
  async retire(peer: string, by: string): Promise<Effect<KnownHost>> {
    const entry = this.#entries.get(peer);
    if (entry === undefined) throw new CodedError('ERR_NOT_FOUND', 'there is no such host');
    this.#parts.revocations.checkRoom(peer);
    const stored = await this.#parts.state.get(retiredKey(peer));
    const at = Math.round(this.#parts.clock.now());
    const retired = stored === undefined ? { at, by } : parseRetirement(stored.value);
    const { hostname, idc } = entry.row;
    return {
      changes: [{ type: 'put', key: retiredKey(peer), value: retired }, ...this.#unwritten(peer)],
      expect: [{ key: retiredKey(peer), revision: stored?.revision ?? 0 }],
      detail: {
        ...(hostname === undefined ? {} : { hostname }),
        ...(idc === undefined ? {} : { idc }),
      },
      answer: () => {
        entry.retired = retired;
        return viewOf(entry);
      },
    };
  }

  /** Ends its connections and lets its key in no more, for good; throws what the cell map cannot hold. */
  async putOut(peer: string): Promise<void> {
    await this.#parts.revocations.revoke(peer);
  }

  /** Resolves when what is being written now has been, or could not be. */
  async idle(): Promise<void> {
    await this.#writer.idle();
  }

  /** Writes what is to be written, and when hosts were here; the store is whose it is. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer[Symbol.asyncDispose]();
  }

  async #load(): Promise<void> {
    const { state } = this.#parts;
    for await (const { key, value } of state.range(keysWith(rowKey('')))) {
      const peer = key.slice(rowKey('').length);
      const row = parseRow(value);
      const nothing = { labels: {}, retired: undefined, present: undefined };
      this.#entries.set(peer, { peer, row, lastSeen: row.firstSeen, ...nothing });
    }
    const each = async (
      keyOf: (peer: string) => string,
      take: (entry: Entry, value: unknown) => void,
    ) => {
      for await (const { key, value } of state.range(keysWith(keyOf('')))) {
        const entry = this.#entries.get(key.slice(keyOf('').length));
        if (entry !== undefined) take(entry, value);
      }
    };
    await each(labelsKey, (entry, value) => void (entry.labels = parseLabels(value)));
    await each(retiredKey, (entry, value) => void (entry.retired = parseRetirement(value)));
    await each(seenKey, (entry, value) => void (entry.lastSeen = parseSeen(value).at));
  }

  /** This program may have been killed after it was written down, and before the cell map was. */
  async #endRetired(): Promise<void> {
    const { revocations, log } = this.#parts;
    for (const { peer, retired } of this.#entries.values()) {
      if (retired === undefined || revocations.isRevoked(peer)) continue;
      try {
        await revocations.revoke(peer);
      } catch (error) {
        log.error({ peer, err: error }, 'a retired host is not revoked');
      }
    }
  }

  /** For one more; false when all there are have to stay. */
  #makeRoom(): boolean {
    if (this.#entries.size < (this.#parts.maxHosts ?? hostLimits.hosts)) return true;
    let longest: Entry | undefined;
    for (const entry of this.#entries.values()) {
      if (entry.present !== undefined || Object.keys(entry.labels).length > 0) continue;
      if (longest !== undefined && longest.lastSeen <= entry.lastSeen) continue;
      if (!this.isRetired(entry.peer)) longest = entry;
    }
    if (longest === undefined) {
      if (!this.#isFull) this.#parts.log.warn({ hosts: this.size }, 'no room for other hosts');
      this.#isFull = true;
      return false;
    }
    this.#isFull = false;
    this.#entries.delete(longest.peer);
    this.#writer.changed(longest.peer);
    return true;
  }

  /** The row of a host that waits to be written: what goes through the door must not be without it. */
  #unwritten(peer: string): StateChange[] {
    return this.#writer.isWaiting(peer) ? this.#changesOf(peer) : [];
  }

  #changesOf(peer: string): StateChange[] {
    const entry = this.#entries.get(peer);
    if (entry !== undefined) return [{ type: 'put', key: rowKey(peer), value: entry.row }];
    return [
      { type: 'del', key: rowKey(peer) },
      { type: 'del', key: seenKey(peer) },
      { type: 'del', key: labelsKey(peer) },
    ];
  }

  *#present(): Generator<string, void, undefined> {
    const now = Math.round(this.#parts.clock.now());
    for (const entry of this.#entries.values()) {
      if (entry.present === undefined) continue;
      entry.lastSeen = now;
      yield entry.peer;
    }
  }

  #seenOf(peer: string): StateChange[] {
    const at = this.#entries.get(peer)?.lastSeen;
    return at === undefined ? [] : [{ type: 'put', key: seenKey(peer), value: { at } }];
  }
}

const rowKey = (peer: string): string => `host/${peer}`;
const labelsKey = (peer: string): string => `host-labels/${peer}`;
const retiredKey = (peer: string): string => `host-retired/${peer}`;
const seenKey = (peer: string): string => `host-seen/${peer}`;

function rowOf(host: PresentHost, firstSeen: number): HostRow {
  const { hostname, idc, location, role, facts = {} } = host;
  return {
    ...(hostname === undefined ? {} : { hostname }),
    ...(idc === undefined ? {} : { idc }),
    ...(location === undefined ? {} : { location }),
    role,
    firstSeen,
    facts: sorted(facts),
  };
}

function viewOf({ peer, row, labels, lastSeen, retired, present }: Entry): KnownHost {
  return { ...row, peer, labels, lastSeen, isConnected: present !== undefined, retired };
}

function sorted<Value>(record: Readonly<Record<string, Value>>): Record<string, Value> {
  return Object.fromEntries(
    Object.entries(record).toSorted(([one], [other]) => (one < other ? -1 : 1)),
  );
}

/** Of records made by the same code, names in the same order. */
function isSame(one: object, other: object): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
