import type { Clock, Timer } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { Expectation, StateChange, StateStore } from '../../core/store/state-store.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { ApprovalRecord, approvalLimits } from './approval-record.ts';
import type { Effect } from './door-effect.ts';
import type { Principal } from './principal.ts';

const SWEEP_MS = 60_000;
const PREFIX = 'approval/';
const parseRecord = parser(ApprovalRecord, { code: 'ERR_STORE_IO' });

/** What happens to approvals: `given` is each word of one who agrees, `expired` those that nobody denied. */
export const approvalEvents = ['asked', 'given', 'denied', 'used', 'expired'] as const;
type ApprovalCount = (typeof approvalEvents)[number];

/** An approval as the store has it. */
export interface KeptApproval {
  readonly record: ApprovalRecord;
  readonly revision: number;
}

/**
 * What waits for somebody's agreement, or has it and is not yet done. All of it is in memory to be listed and counted;
 * what is decided by it is read from the store. A row goes in the commit of what it was for, or when it expires.
 */
export class ApprovalTable implements AsyncDisposable {
  readonly #store: StateStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #held = new Map<string, { readonly record: ApprovalRecord; readonly bytes: number }>();
  readonly #timer: Timer;
  /** What has become of them since the start: see `approvalEvents`. */
  readonly counts = new Map<ApprovalCount, number>(approvalEvents.map((name) => [name, 0]));
  #sweeping: Promise<void> = Promise.resolve();

  private constructor(store: StateStore, options: { readonly clock: Clock; readonly log: Log }) {
    this.#store = store;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#timer = this.#clock.every(SWEEP_MS, () => void this.sweep());
  }

  static async open(
    store: StateStore,
    options: { readonly clock: Clock; readonly log: Log },
  ): Promise<ApprovalTable> {
    const table = new ApprovalTable(store, options);
    try {
      for await (const { value } of store.range(keysWith(PREFIX))) table.#hold(parseRecord(value));
      return table;
    } catch (error) {
      table.#timer.cancel();
      throw error;
    }
  }

  /** Those that have not expired. */
  list(): ApprovalRecord[] {
    const now = this.#clock.now();
    return [...this.#held.values()].flatMap(({ record }) => (record.expires > now ? [record] : []));
  }

  /** One, expired or not, as it is on the disk; undefined when there is none, or it was used. */
  async find(id: string): Promise<KeptApproval | undefined> {
    const row = await this.#store.get(keyOf(id));
    // After a commit of which nobody knew whether it is written, this is how memory comes to know.
    if (row === undefined) {
      this.#held.delete(id);
      return undefined;
    }
    const record = parseRecord(row.value);
    this.#hold(record);
    return { record, revision: row.revision };
  }

  /** Makes room for one at once, and keeps it when it is committed; ERR_BUSY past the bounds. */
  add(record: ApprovalRecord): Effect<ApprovalRecord> & { readonly undo: () => void } {
    this.#checkRoom(record);
    this.#hold(record);
    return {
      changes: [{ type: 'put', key: keyOf(record.id), value: record }],
      expect: [{ key: keyOf(record.id), revision: 0 }],
      detail: {},
      undo: () => void this.#held.delete(record.id),
      answer: () => {
        this.#count('asked');
        return record;
      },
    };
  }

  /** What takes one away in the commit of what it was for. */
  use({ record: { id }, revision }: KeptApproval): {
    readonly changes: StateChange[];
    readonly expect: Expectation[];
    readonly done: () => void;
  } {
    return {
      changes: [{ type: 'del', key: keyOf(id) }],
      expect: [{ key: keyOf(id), revision }],
      done: () => {
        this.#held.delete(id);
        this.#count('used');
      },
    };
  }

  /** Somebody agrees; once more, with another key perhaps, counts in the place of before. As `#waiting()` throws. */
  async agree(id: string, by: Principal): Promise<Effect<ApprovalRecord>> {
    const { record, revision } = await this.#waiting(id);
    const word = this.#wordOf(by);
    const others = record.agreed.filter(({ principal }) => principal !== by.name);
    const effect = this.#replace({ ...record, agreed: [...others, word] }, revision);
    return {
      ...effect,
      answer: () => {
        this.#count('given');
        return effect.answer();
      },
    };
  }

  /** Somebody denies, for good. As `#waiting()` throws. */
  async deny(id: string, by: Principal, reason?: string): Promise<Effect<ApprovalRecord>> {
    const { record, revision } = await this.#waiting(id);
    const said = reason === undefined ? {} : { reason };
    const denied = { ...this.#wordOf(by), ...said };
    const effect = this.#replace({ ...record, denied }, revision);
    return {
      ...effect,
      detail: { ...effect.detail, ...said },
      answer: () => {
        this.#count('denied');
        return effect.answer();
      },
    };
  }

  /** Removes what has expired; what cannot be removed is tried again. Never rejects. */
  async sweep(): Promise<void> {
    this.#sweeping = this.#sweeping.then(async () => this.#removeExpired());
    return this.#sweeping;
  }

  /** Stops sweeping; the store is whose it is. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer.cancel();
    await this.#sweeping;
  }

  /** ERR_NOT_FOUND when there is none any more, ERR_CONFLICT when it was denied. */
  async #waiting(id: string): Promise<KeptApproval> {
    const kept = await this.find(id);
    if (kept === undefined || kept.record.expires <= this.#clock.now()) throw noSuch();
    const { denied } = kept.record;
    if (denied === undefined) return kept;
    throw new CodedError('ERR_CONFLICT', `${denied.principal} has denied it, for good`);
  }

  #replace(record: ApprovalRecord, revision: number): Effect<ApprovalRecord> {
    const { verb, principal, digest } = record;
    return {
      changes: [{ type: 'put', key: keyOf(record.id), value: record }],
      expect: [{ key: keyOf(record.id), revision }],
      detail: { verb, of: principal, digest },
      answer: () => {
        this.#hold(record);
        return record;
      },
    };
  }

  #wordOf({ name, key }: Principal): ApprovalRecord['agreed'][number] {
    const at = Math.round(this.#clock.now());
    return { principal: name, ...(key === undefined ? {} : { key }), at };
  }

  #count(event: ApprovalCount): void {
    this.counts.set(event, (this.counts.get(event) ?? 0) + 1);
  }

  #hold(record: ApprovalRecord): void {
    this.#held.set(record.id, { record, bytes: bytesOf(record) });
  }

  #checkRoom(record: ApprovalRecord): void {
    const { each, eachBytes, all, allBytes } = approvalLimits;
    const held = [...this.#held.values()];
    const own = held.filter(({ record: { principal } }) => principal === record.principal);
    const bytes = bytesOf(record);
    const sumOf = (rows: typeof held): number => rows.reduce((sum, row) => sum + row.bytes, bytes);
    if (own.length >= each || sumOf(own) > eachBytes) {
      const message = `too much of ${record.principal} waits for approval: at most ${each} requests, ${eachBytes} bytes`;
      throw new CodedError('ERR_BUSY', message);
    }
    if (held.length >= all || sumOf(held) > allBytes) {
      throw new CodedError('ERR_BUSY', `too much waits for approval: at most ${all} requests`);
    }
  }

  async #removeExpired(): Promise<void> {
    const now = this.#clock.now();
    const gone = [...this.#held.values()].flatMap(({ record: { id, expires } }) =>
      expires <= now ? [id] : [],
    );
    if (gone.length === 0) return;
    try {
      await this.#store.commit(gone.map((id) => ({ type: 'del', key: keyOf(id) })));
    } catch (error) {
      const { code } = CodedError.from(error);
      this.#log.warn({ code }, 'expired approvals could not be removed');
      return;
    }
    for (const id of gone) {
      if (this.#held.get(id)?.record.denied === undefined) this.#count('expired');
      this.#held.delete(id);
    }
  }
}

const keyOf = (id: string): string => `${PREFIX}${id}`;

/** For who asks after one. */
export function noSuch(): CodedError {
  const message = 'there is no approval of this id: it was used, has expired, or never was';
  return new CodedError('ERR_NOT_FOUND', message);
}

function bytesOf(record: ApprovalRecord): number {
  return Buffer.byteLength(JSON.stringify(record));
}
