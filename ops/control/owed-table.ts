import { keysWith } from '../../core/store/state-store.ts';
import type { StateChange, StateStore } from '../../core/store/state-store.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { owedAfter, OwedHost, settledBy } from './owed-host.ts';
import type { ReleaseRecord } from './release-record.ts';
import type { ReleaseState } from './release-state.ts';

/** Rows there may be; what a release owes past it is for somebody to repair. */
export const MAX_OWED = 50_000;

const PREFIX = 'release-owed/';
const parseOwed = parser(OwedHost, { code: 'ERR_STORE_IO' });

/**
 * What releases that have ended owe to hosts, and what was made good: a row for a host and an application, until a later
 * release of it says what that host is to run. All in memory, as the disk has it.
 */
export class OwedTable {
  readonly #store: StateStore;
  readonly #rows = new Map<string, OwedHost>();

  private constructor(store: StateStore) {
    this.#store = store;
  }

  static async open(store: StateStore): Promise<OwedTable> {
    const table = new OwedTable(store);
    await table.#read(PREFIX);
    return table;
  }

  find({ application, peer }: Pick<OwedHost, 'application' | 'peer'>): OwedHost | undefined {
    return this.#rows.get(keyOf({ application, peer }));
  }

  /** Those for whom something may be done, and those who have a call. */
  *open(): Generator<OwedHost, void, undefined> {
    for (const owed of this.#rows.values()) {
      if (owed.stage !== 'left' && owed.stage !== 'mended') yield owed;
    }
  }

  /** What a release owes, or has owed, and no later one has changed. */
  of(release: string): OwedHost[] {
    return [...this.#rows.values()].filter((owed) => owed.release === release);
  }

  /** Every host and application. */
  all(): IterableIterator<OwedHost> {
    return this.#rows.values();
  }

  put(owed: OwedHost): StateChange {
    return { type: 'put', key: keyOf(owed), value: owed };
  }

  /** It is on the disk. */
  keep(owed: OwedHost): void {
    this.#rows.set(keyOf(owed), owed);
  }

  /** What the end of a release changes. It is read again with `reread()` once that is on the disk. */
  endOf(record: ReleaseRecord, state: ReleaseState): StateChange[] {
    const { application } = record;
    const settled = settledBy(record, state).map((peer) => keyOf({ application, peer }));
    const mended = [...this.#rows].flatMap(([key, { stage, application: of }]) =>
      of === application && stage === 'mended' ? [key] : [],
    );
    const gone = new Set([...settled, ...mended].filter((key) => this.#rows.has(key)));
    const room = Math.max(0, MAX_OWED - (this.#rows.size - gone.size));
    const owed = owedAfter(record, state).slice(0, room);
    for (const host of owed) gone.delete(keyOf(host));
    return [
      ...[...gone].map((key): StateChange => ({ type: 'del', key })),
      ...owed.map((host) => this.put(host)),
    ];
  }

  /** As the disk has it: after the end of a release, and where nobody knows whether a commit is there. */
  async reread(application: string): Promise<void> {
    const prefix = `${PREFIX}${application}/`;
    await this.#read(prefix);
  }

  async #read(prefix: string): Promise<void> {
    const found = new Map<string, OwedHost>();
    for await (const { key, value } of this.#store.range(keysWith(prefix))) {
      found.set(key, parseOwed(value));
    }
    for (const key of this.#rows.keys()) {
      if (key.startsWith(prefix) && !found.has(key)) this.#rows.delete(key);
    }
    for (const [key, owed] of found) this.#rows.set(key, owed);
  }
}

function keyOf({ application, peer }: Pick<OwedHost, 'application' | 'peer'>): string {
  return `${PREFIX}${application}/${peer}`;
}
