import { parser } from '../../core/wire/parse-message.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { Expectation, StateChange, StateStore } from '../../core/store/state-store.ts';
import { CallEnd, CallRecord, HostResult } from './call-record.ts';

const parseRecord = parser(CallRecord, { code: 'ERR_STORE_IO' });
const parseEnd = parser(CallEnd, { code: 'ERR_STORE_IO' });
const parseResult = parser(HostResult, { code: 'ERR_STORE_IO' });
/** Calls are forgotten past so many, the oldest first. */
const MAX_KEPT = 10_000;
/** Output in a page of results, in base64: an answer of the API has at most this and one result more. */
const MAX_PAGE_LENGTH = 4 * 1024 * 1024;
const RESULTS_TOGETHER = 100;
/** Removed together, with their results. */
const MAX_PRUNED = 100;

const recordKey = (id: string): string => `call/${id}`;
const openKey = (id: string): string => `call-open/${id}`;
const stopKey = (id: string): string => `call-stop/${id}`;
const endKey = (id: string): string => `call-end/${id}`;
const resultPrefix = (id: string): string => `call-result/${id}/`;
const wordKey = (principal: string, word: string): string => `call-word/${principal}/${word}`;

/** Calls and their results as rows; ids are in the order of time. */
export class CallStore {
  readonly #state: StateStore;
  #kept = 0;

  private constructor(state: StateStore) {
    this.#state = state;
  }

  static async open(state: StateStore): Promise<CallStore> {
    const store = new CallStore(state);
    for await (const _row of state.range(keysWith('call/'))) store.#kept += 1;
    return store;
  }

  /** What makes a call exist, once: ERR_CONFLICT at a second one with the same word of the same principal. */
  begin(
    record: CallRecord,
    word: string | undefined,
  ): { readonly changes: StateChange[]; readonly expect: Expectation[] } {
    const { id, principal } = record;
    const changes: StateChange[] = [
      { type: 'put', key: recordKey(id), value: record },
      { type: 'put', key: openKey(id), value: true },
    ];
    const expect: Expectation[] = [{ key: recordKey(id), revision: 0 }];
    if (word !== undefined) {
      const key = wordKey(principal, word);
      changes.push({ type: 'put', key, value: id });
      expect.push({ key, revision: 0 });
    }
    return { changes, expect };
  }

  /** The call that this principal began with this word. */
  async withWord(principal: string, word: string): Promise<CallRecord | undefined> {
    const id = (await this.#state.get(wordKey(principal, word)))?.value;
    return typeof id === 'string' ? this.find(id) : undefined;
  }

  async find(id: string): Promise<CallRecord | undefined> {
    const row = await this.#state.get(recordKey(id));
    return row === undefined ? undefined : parseRecord(row.value);
  }

  async end(id: string): Promise<CallEnd | undefined> {
    const row = await this.#state.get(endKey(id));
    return row === undefined ? undefined : parseEnd(row.value);
  }

  /** Calls, the newest first, older than `before`. */
  async list(options: { before?: string; limit: number }): Promise<CallRecord[]> {
    const { gte, lt } = keysWith('call/');
    const range = { gte, lt: options.before === undefined ? lt : recordKey(options.before) };
    const records: CallRecord[] = [];
    for await (const { value } of this.#state.range(range, {
      reverse: true,
      limit: options.limit,
    })) {
      records.push(parseRecord(value));
    }
    return records;
  }

  /** Results of a call by peer id, from the one after `after`: at most `limit`, and no more once they are long. */
  async page(
    id: string,
    { after, limit }: { readonly after?: string | undefined; readonly limit: number },
  ): Promise<{ readonly items: HostResult[]; readonly next?: string }> {
    const { gte, lt } = keysWith(resultPrefix(id));
    const range = { gte: after === undefined ? gte : `${gte}${after}\0`, lt };
    const items: HostResult[] = [];
    let length = 0;
    for await (const { value } of this.#state.range(range)) {
      const last = items.at(-1);
      if (last !== undefined && (items.length >= limit || length > MAX_PAGE_LENGTH)) {
        return { items, next: last.peer };
      }
      const result = parseResult(value);
      items.push(result);
      length += result.stdout.length + result.stderr.length;
    }
    return { items };
  }

  /** All results of a call, by peer id. */
  async *results(id: string): AsyncGenerator<HostResult, void, undefined> {
    for (let after: string | undefined; ;) {
      const { items, next } = await this.page(id, { after, limit: RESULTS_TOGETHER });
      yield* items;
      if (next === undefined) return;
      after = next;
    }
  }

  async result(id: string, peer: string): Promise<HostResult | undefined> {
    const row = await this.#state.get(`${resultPrefix(id)}${peer}`);
    return row === undefined ? undefined : parseResult(row.value);
  }

  /** Calls that have not ended, with whether they are to be stopped. */
  async unended(): Promise<{ readonly record: CallRecord; readonly isStopped: boolean }[]> {
    const open: { record: CallRecord; isStopped: boolean }[] = [];
    for await (const { key } of this.#state.range(keysWith('call-open/'))) {
      const id = key.slice('call-open/'.length);
      const record = await this.find(id);
      if (record === undefined) continue;
      open.push({ record, isStopped: (await this.#state.get(stopKey(id))) !== undefined });
    }
    return open;
  }

  /** Results of hosts, by call; on the disk when this resolves. */
  async keep(
    results: readonly { readonly id: string; readonly result: HostResult }[],
  ): Promise<void> {
    await this.#state.commit(
      results.map(({ id, result }) => ({
        type: 'put' as const,
        key: `${resultPrefix(id)}${result.peer}`,
        value: result,
      })),
    );
  }

  stop(id: string): StateChange[] {
    return [{ type: 'put', key: stopKey(id), value: true }];
  }

  async ended(id: string, end: CallEnd): Promise<void> {
    await this.#state.commit([
      { type: 'put', key: endKey(id), value: end },
      { type: 'del', key: openKey(id) },
      { type: 'del', key: stopKey(id) },
    ]);
    this.#kept += 1;
    if (this.#kept > MAX_KEPT + MAX_PRUNED) await this.#prune();
  }

  /** Removes the oldest that have ended. */
  async #prune(): Promise<void> {
    for await (const { key } of this.#state.range(keysWith('call/'), { limit: MAX_PRUNED })) {
      const id = key.slice('call/'.length);
      if ((await this.#state.get(openKey(id))) !== undefined) continue;
      const changes: StateChange[] = [
        { type: 'del', key },
        { type: 'del', key: endKey(id) },
      ];
      for await (const row of this.#state.range(keysWith(resultPrefix(id)))) {
        changes.push({ type: 'del', key: row.key });
        if (changes.length >= 1_000) await this.#state.commit(changes.splice(0));
      }
      await this.#state.commit(changes);
      this.#kept -= 1;
    }
  }
}
