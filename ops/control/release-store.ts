import { CodedError } from '../../core/base/error.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { Expectation, StateChange, StateStore } from '../../core/store/state-store.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { releaseLimits, ReleaseRecord } from './release-record.ts';
import { isEnded, ReleaseState } from './release-state.ts';

const parseRelease = parser(ReleaseRecord, { code: 'ERR_STORE_IO' });
const parseState = parser(ReleaseState, { code: 'ERR_STORE_IO' });
/** Removed together. */
const MAX_PRUNED = 100;

const recordKey = (id: string): string => `release/${id}`;
const stateKey = (id: string): string => `release-state/${id}`;
const openKey = (application: string): string => `release-open/${application}`;

/** What a commit changes, and what it stands on. */
export interface StoreChange {
  readonly changes: StateChange[];
  readonly expect: Expectation[];
}

/** A state, and the commit that wrote it. */
export interface KeptState {
  readonly state: ReleaseState;
  readonly revision: number;
}

/** Releases and where they stand, as rows; ids are in the order of time. */
export class ReleaseStore {
  readonly #state: StateStore;
  #kept = 0;

  private constructor(state: StateStore) {
    this.#state = state;
  }

  static async open(state: StateStore): Promise<ReleaseStore> {
    const store = new ReleaseStore(state);
    for await (const _row of state.range(keysWith('release/'))) store.#kept += 1;
    return store;
  }

  /** What makes a release exist; ERR_CONFLICT while another one of its application has not ended. */
  begin(record: ReleaseRecord, state: ReleaseState): StoreChange {
    const { id, application } = record;
    return {
      changes: [
        { type: 'put', key: recordKey(id), value: record },
        { type: 'put', key: stateKey(id), value: state },
        { type: 'put', key: openKey(application), value: id },
      ],
      expect: [
        { key: recordKey(id), revision: 0 },
        { key: openKey(application), revision: 0 },
      ],
    };
  }

  /** What makes it stand elsewhere, from where it stood at `revision`. */
  move({ id, application }: ReleaseRecord, state: ReleaseState, revision: number): StoreChange {
    const changes: StateChange[] = [{ type: 'put', key: stateKey(id), value: state }];
    if (isEnded(state)) changes.push({ type: 'del', key: openKey(application) });
    return { changes, expect: [{ key: stateKey(id), revision }] };
  }

  /** Of the release of an application that has not ended, its id. */
  async openOf(application: string): Promise<string | undefined> {
    const id = (await this.#state.get(openKey(application)))?.value;
    return typeof id === 'string' ? id : undefined;
  }

  async find(id: string): Promise<ReleaseRecord | undefined> {
    const row = await this.#state.get(recordKey(id));
    return row === undefined ? undefined : parseRelease(row.value);
  }

  /** Where a release stands; ERR_STORE_IO. */
  async state(id: string): Promise<KeptState> {
    const row = await this.#state.get(stateKey(id));
    if (row === undefined) throw new CodedError('ERR_STORE_IO', `release ${id} has no state`);
    return { state: parseState(row.value), revision: row.revision };
  }

  /** Releases, the newest first, older than `before`. */
  async list({ before, limit }: { before?: string; limit: number }): Promise<ReleaseRecord[]> {
    const { gte, lt } = keysWith('release/');
    const range = { gte, lt: before === undefined ? lt : recordKey(before) };
    const rows = this.#state.range(range, { reverse: true, limit });
    return Array.fromAsync(rows, ({ value }) => parseRelease(value));
  }

  /** All releases of an application, the newest first. */
  async *of(application: string): AsyncGenerator<ReleaseRecord, void, undefined> {
    for await (const { value } of this.#state.range(keysWith('release/'), { reverse: true })) {
      const record = parseRelease(value);
      if (record.application === application) yield record;
    }
  }

  /** The id of the last release of an application. */
  async newestOf(application: string): Promise<string | undefined> {
    for await (const { id } of this.of(application)) return id;
    return undefined;
  }

  /** Those that have not ended. */
  async unended(): Promise<ReleaseRecord[]> {
    const open: ReleaseRecord[] = [];
    for await (const { value } of this.#state.range(keysWith('release-open/'))) {
      const record = typeof value === 'string' ? await this.find(value) : undefined;
      if (record !== undefined) open.push(record);
    }
    return open;
  }

  /** One more was begun; once there are too many, the oldest that have ended are forgotten. */
  async began(): Promise<void> {
    this.#kept += 1;
    if (this.#kept <= releaseLimits.kept + MAX_PRUNED) return;
    const changes: StateChange[] = [];
    for await (const { key } of this.#state.range(keysWith('release/'), { limit: MAX_PRUNED })) {
      const id = key.slice('release/'.length);
      const { state } = await this.state(id);
      if (!isEnded(state)) continue;
      changes.push({ type: 'del', key }, { type: 'del', key: stateKey(id) });
    }
    await this.#state.commit(changes);
    this.#kept -= changes.length / 2;
  }
}
