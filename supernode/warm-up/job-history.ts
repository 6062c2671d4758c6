import { Type } from 'typebox';
import type { Static } from 'typebox';
import type { Clock } from '../../core/base/clock.ts';
import type { Log } from '../../core/base/log.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { StateChange, StateStore } from '../../core/store/state-store.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { ChosenHost, JobRecord, JobSource } from './job-record.ts';
import { WarmUpRequest } from './warm-up-request.ts';

/** Ended jobs that are kept; past either bound the oldest go. */
const MAX_RECORDS = 500;
/** Hosts of all of them together, some 300 bytes each. */
const MAX_RESULTS = 50_000;
const TTL_MS = 7 * 24 * 3_600_000;

const OPEN = 'open/';
const ENDED = 'ended/';

/** A job that has not ended: enough to begin it again, or to tell that it was lost. */
const OpenJob = Type.Object({
  v: Type.Literal(1),
  id: Type.String(),
  source: JobSource,
  createdMs: Type.Number(),
  /** Absent where a part of it may be a secret. */
  request: Type.Optional(WarmUpRequest),
  /** Once they are chosen. */
  hosts: Type.Optional(Type.Array(ChosenHost)),
  record: JobRecord,
});
export type OpenJob = Static<typeof OpenJob>;

const parseOpen = parser(OpenJob, { code: 'ERR_STORE_IO' });
const parseRecord = parser(JobRecord, { code: 'ERR_STORE_IO' });

/** What is remembered of warm-ups across restarts: those that run as far as they may be kept, and those that ended. */
export class JobHistory implements AsyncDisposable {
  readonly #state: StateStore;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Oldest first. */
  readonly #ended = new Map<string, JobRecord>();

  private constructor(state: StateStore, parts: { clock: Clock; log: Log }) {
    this.#state = state;
    this.#clock = parts.clock;
    this.#log = parts.log;
  }

  /** Opens the rows in `directory`; the jobs that had not ended come with it. */
  static async open(
    directory: string,
    parts: { readonly clock: Clock; readonly log: Log },
  ): Promise<{ readonly history: JobHistory; readonly open: readonly OpenJob[] }> {
    const waiting = { clock: parts.clock, waitMs: 5_000 };
    const history = new JobHistory(await LevelStateStore.openWhenFree(directory, waiting), parts);
    for await (const { value } of history.#state.range(keysWith(ENDED))) {
      const record = parseRecord(value);
      history.#ended.set(record.id, record);
    }
    const rows = await Array.fromAsync(history.#state.range(keysWith(OPEN)));
    const open = rows.map(({ value }) => parseOpen(value));
    return { history, open };
  }

  /** Those that ended, oldest first. */
  ended(): Iterable<JobRecord> {
    return this.#ended.values();
  }

  find(id: string): JobRecord | undefined {
    return this.#ended.get(id);
  }

  /** Keeps a job that has not ended; a full disk is logged, and the job goes on. */
  async keep(job: OpenJob): Promise<void> {
    await this.#write([{ type: 'put', key: `${OPEN}${job.id}`, value: job }]);
  }

  /** Keeps what became of a job, and drops what is too old or too much. */
  async end(record: JobRecord): Promise<void> {
    this.#ended.set(record.id, record);
    const dropped = this.#dropOld();
    await this.#write([
      { type: 'del', key: `${OPEN}${record.id}` },
      { type: 'put', key: `${ENDED}${record.id}`, value: record },
      ...dropped.map((id) => ({ type: 'del' as const, key: `${ENDED}${id}` })),
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#state.close();
  }

  #dropOld(): string[] {
    const oldest = this.#clock.now() - TTL_MS;
    let results = this.#ended.values().reduce((sum, record) => sum + record.results.length, 0);
    const dropped: string[] = [];
    for (const [id, record] of this.#ended) {
      const isTooMany = this.#ended.size > MAX_RECORDS || results > MAX_RESULTS;
      const isOld = Date.parse(record.finished ?? record.created) < oldest;
      // The job that just ended is told of, however large it is.
      if ((!isTooMany && !isOld) || this.#ended.size === 1) break;
      this.#ended.delete(id);
      results -= record.results.length;
      dropped.push(id);
    }
    return dropped;
  }

  async #write(changes: readonly StateChange[]): Promise<void> {
    try {
      await this.#state.commit(changes);
    } catch (error) {
      this.#log.error({ err: error }, 'a warm-up could not be kept');
    }
  }
}
