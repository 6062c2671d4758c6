// Why a call never runs twice on a host. Its id is on the disk before its program starts, and stays there until no order
// for it can be good any more; the time until which ids were forgotten is kept too, so that a clock that goes back
// makes nothing good again. What a call came to is kept until the cell has heard of it.
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { expiryLeewayMs } from '../../core/identity/trust.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { StateChange, StateStore } from '../../core/store/state-store.ts';
import { parser } from '../../core/wire/parse-message.ts';

/** Bounds of a journal. */
export const journalLimits = {
  /** Calls that run, or whose result the cell has not heard; past it ERR_BUSY. */
  unheard: 10_000,
  /** Output that they keep together, or may come to have; past it ERR_BUSY. */
  unheardBytes: 268_435_456,
  /** Ids of calls that are over and heard; past it ERR_BUSY. */
  ids: 500_000,
  /** Up to so many are kept longer than their orders are good. */
  spareIds: 50_000,
  /**
   * So long, ms: the longest that a caller lets a call wait. Whoever passes calls on could tell us that a result was
   * heard and the cell that it never came; the cell then signs another order of the same call.
   */
  spareMs: 86_400_000,
};

const Row = Type.Union([
  Type.Object({
    state: Type.Literal('begun'),
    /** Of the order, ms of cell time. */
    expires: Type.Integer(),
    began: Type.Integer(),
    /** In the environment of its processes. */
    marker: Type.String(),
    /** Path of their cgroup, if they have one. */
    group: Type.Optional(Type.String()),
  }),
  Type.Object({
    state: Type.Literal('ended'),
    expires: Type.Integer(),
    /** Envelope. */
    result: Type.String(),
    /** Kept of both streams. */
    outputBytes: Type.Integer(),
  }),
  Type.Object({ state: Type.Literal('heard'), expires: Type.Integer() }),
]);
/** What is known of a call. */
export type JournalRow = Static<typeof Row>;
export type BegunRow = Extract<JournalRow, { state: 'begun' }>;

const parseRow = parser(Row, { code: 'ERR_STORE_IO' });
const parseOutput = parser(Type.Object({ stdout: Type.String(), stderr: Type.String() }), {
  code: 'ERR_STORE_IO',
});
const parseFloor = parser(Type.Integer(), { code: 'ERR_STORE_IO' });

/** What a call has written. */
export interface KeptOutput {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

const CALL = 'call/';
const OUTPUT = 'output/';
/** Ids that are kept for nothing but to be known, by the time until which they are. */
const HEARD = 'heard/';
const FLOOR = 'floor';
/** Ids forgotten in one commit. */
const FORGET_TOGETHER = 1_000;

/** The calls of this host, in a folder of its own. */
export class CallJournal {
  readonly #store: StateStore;
  /** Bytes that each call that is not heard keeps, or may come to keep. */
  readonly #unheard = new Map<string, number>();
  #bytes = 0;
  #ids = 0;
  /** Orders that were no good any more before this are never good again, ms of cell time. */
  #floor = 0;

  private constructor(store: StateStore) {
    this.#store = store;
  }

  /** Reads what the last run left in `store`, which is the caller's; also what had begun then and has no end. */
  static async open(
    store: StateStore,
  ): Promise<{ journal: CallJournal; begun: ReadonlyMap<string, BegunRow> }> {
    const journal = new CallJournal(store);
    const begun = new Map<string, BegunRow>();
    for await (const { key, value } of store.range(keysWith(CALL))) {
      const id = key.slice(CALL.length);
      const row = parseRow(value);
      if (row.state === 'heard') {
        journal.#ids += 1;
        continue;
      }
      if (row.state === 'begun') begun.set(id, row);
      journal.#hold(id, row.state === 'ended' ? row.outputBytes : 0);
    }
    const floor = await store.get(FLOOR);
    if (floor !== undefined) journal.#floor = parseFloor(floor.value);
    return { journal, begun };
  }

  /** Calls that have ended and that the cell has not heard of, or that run. */
  unheard(): readonly string[] {
    return [...this.#unheard.keys()];
  }

  async find(id: string): Promise<JournalRow | undefined> {
    const row = await this.#store.get(CALL + id);
    return row === undefined ? undefined : parseRow(row.value);
  }

  /** True when an order that expires then could have been forgotten: it is not good, whatever the clock says. */
  isForgotten(expires: number): boolean {
    return expires <= this.#floor;
  }

  /**
   * Writes that a call begins, before it does. ERR_CONFLICT when it is known already, ERR_BUSY when too much is kept,
   * ERR_STORE_IO when it cannot be written: in none of these cases may it begin.
   */
  async begin(id: string, row: Omit<BegunRow, 'state'> & { maxBytes: number }): Promise<void> {
    const { maxBytes, ...begun } = row;
    const { expires } = begun;
    if (this.isForgotten(expires)) throw new CodedError('ERR_CONFLICT', 'the call was known once');
    this.#refuseWhenFull(maxBytes);
    if (this.#unheard.has(id)) throw new CodedError('ERR_CONFLICT', `call ${id} is known`);
    this.#hold(id, maxBytes);
    try {
      await this.#put(id, { state: 'begun', ...begun }, { isNew: true });
    } catch (error) {
      this.#release(id);
      throw error;
    }
  }

  /** Writes what became of a call that began, or of one that will never begin. */
  async end(
    id: string,
    row: { readonly expires: number; readonly result: string; readonly output?: KeptOutput },
  ): Promise<void> {
    const { expires, result, output } = row;
    const outputBytes = output === undefined ? 0 : output.stdout.length + output.stderr.length;
    const isNew = !this.#unheard.has(id);
    if (isNew) this.#refuseWhenFull(0);
    this.#hold(id, outputBytes);
    const changes: StateChange[] =
      output === undefined || outputBytes === 0
        ? []
        : [{ type: 'put', key: OUTPUT + id, value: textOf(output) }];
    try {
      await this.#put(id, { state: 'ended', expires, result, outputBytes }, { isNew, changes });
    } catch (error) {
      if (isNew) this.#release(id);
      throw error;
    }
  }

  /** Writes an id that never may begin, and of which nothing else is kept. */
  async burn(id: string, expires: number): Promise<void> {
    if (this.#ids >= journalLimits.ids) throw full(journalLimits.ids, 'ids of calls');
    this.#ids += 1;
    try {
      const changes: StateChange[] = [heardAt(id, expires)];
      await this.#put(id, { state: 'heard', expires }, { isNew: true, changes });
    } catch (error) {
      this.#ids -= 1;
      throw error;
    }
  }

  /** Output of a call that has ended and is not heard; empty when it has none. */
  async output(id: string): Promise<KeptOutput> {
    const row = await this.#store.get(OUTPUT + id);
    if (row === undefined) return { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };
    const { stdout, stderr } = parseOutput(row.value);
    return { stdout: Buffer.from(stdout, 'base64'), stderr: Buffer.from(stderr, 'base64') };
  }

  /** The cell keeps these results: here only their ids are, as long as their orders may be good. */
  async heard(ids: readonly string[]): Promise<void> {
    const changes: StateChange[] = [];
    const gone: string[] = [];
    for (const id of new Set(ids)) {
      if (!this.#unheard.has(id)) continue;
      const row = await this.find(id);
      if (row?.state !== 'ended') continue;
      const { expires } = row;
      gone.push(id);
      changes.push({ type: 'put', key: CALL + id, value: { state: 'heard', expires } });
      changes.push({ type: 'del', key: OUTPUT + id }, heardAt(id, expires));
    }
    if (gone.length === 0) return;
    await this.#store.commit(changes);
    for (const id of gone) {
      if (this.#release(id)) this.#ids += 1;
    }
  }

  /** Forgets ids of which no order can come that is good at `now`, ms of cell time. */
  async forget(now: number): Promise<void> {
    for (;;) {
      const spareMs = this.#ids > journalLimits.spareIds ? 0 : journalLimits.spareMs;
      const until = HEARD + timeText(now - 2 * expiryLeewayMs - spareMs);
      const changes: StateChange[] = [];
      let floor = this.#floor;
      const limit = FORGET_TOGETHER;
      for await (const { key } of this.#store.range({ gte: HEARD, lt: until }, { limit })) {
        const [, time = '', id = ''] = key.split('/');
        floor = Math.max(floor, Number(time));
        changes.push({ type: 'del', key }, { type: 'del', key: CALL + id });
      }
      if (changes.length === 0) return;
      // First in memory: what is being forgotten is not good from now on.
      this.#floor = floor;
      await this.#store.commit([...changes, { type: 'put', key: FLOOR, value: floor }]);
      this.#ids -= changes.length / 2;
    }
  }

  async #put(
    id: string,
    row: JournalRow,
    { isNew, changes = [] }: { isNew: boolean; changes?: readonly StateChange[] },
  ): Promise<void> {
    const key = CALL + id;
    const expect = isNew ? [{ key, revision: 0 }] : [];
    await this.#store.commit([{ type: 'put', key, value: row }, ...changes], { expect });
  }

  #refuseWhenFull(bytes: number): void {
    const { unheard, unheardBytes, ids } = journalLimits;
    if (this.#unheard.size >= unheard) throw full(unheard, 'results that the cell has not heard');
    if (this.#bytes + bytes > unheardBytes) throw full(unheardBytes, 'bytes of unheard output');
    if (this.#ids + this.#unheard.size >= ids) throw full(ids, 'ids of calls');
  }

  #hold(id: string, bytes: number): void {
    this.#bytes += bytes - (this.#unheard.get(id) ?? 0);
    this.#unheard.set(id, bytes);
  }

  #release(id: string): boolean {
    this.#bytes -= this.#unheard.get(id) ?? 0;
    return this.#unheard.delete(id);
  }
}

function heardAt(id: string, expires: number): StateChange {
  return { type: 'put', key: `${HEARD}${timeText(expires)}/${id}`, value: 0 };
}

/** So that the order of keys is that of times. */
function timeText(ms: number): string {
  return String(Math.max(0, Math.floor(ms))).padStart(16, '0');
}

function textOf({ stdout, stderr }: KeptOutput): { stdout: string; stderr: string } {
  return { stdout: stdout.toString('base64'), stderr: stderr.toString('base64') };
}

function full(limit: number, what: string): CodedError {
  return new CodedError('ERR_BUSY', `this host keeps ${limit} ${what} already`);
}
