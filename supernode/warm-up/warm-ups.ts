import { abortable } from '../../core/base/clock.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { Random } from '../../core/base/random.ts';
import { JobHistory } from './job-history.ts';
import type { OpenJob } from './job-history.ts';
import type { JobRecord, JobSource, JobSummary } from './job-record.ts';
import { OrderDesk, byImportance } from './order-desk.ts';
import { parseTarget, pickHosts } from './target.ts';
import type { WarmHost, WarmListener } from './warm-host.ts';
import { WarmUpJob } from './warm-up-job.ts';
import type { WarmTask } from './warm-up-job.ts';
import { checkRequest, isKeepable, urlsOf } from './warm-up-request.ts';
import type { WarmUpRequest } from './warm-up-request.ts';

/** Jobs that run at a time; the others wait. */
const MAX_RUNNING = 16;
/** A release need not wait for the end of others: so many more of it run. */
const RELEASE_RUNNING = 4;
/** Jobs that wait; past it ERR_BUSY. A request has 64 KiB at most, so 32 MiB of them. */
const MAX_WAITING = 500;
const RETRY_AFTER_MS = 5_000;
const TIMEOUT_MS = 3_600_000;
/** Hosts come back within this time of a restart, most of them. */
const COMEBACK_MS = 15_000;

/** The contents of an image, and what its registry wants to see. */
export interface ResolvedImage {
  readonly tasks: readonly WarmTask[];
  /** Header of requests for them; undefined where the registry asks for none. */
  readonly authorization: string | undefined;
  /** Another one, when the registry does not take the first any more. */
  renew(options: { signal: AbortSignal }): Promise<string | undefined>;
}

export interface WarmUpsParts {
  readonly directory: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  resolveImage(
    request: WarmUpRequest & { readonly image: string },
    options: { readonly source: JobSource; readonly signal: AbortSignal },
  ): Promise<ResolvedImage>;
}

/** Warm-ups: waits its turn, finds out what an image is made of, chooses hosts, has it all brought, and remembers. */
export class WarmUps implements AsyncDisposable {
  readonly #parts: WarmUpsParts;
  readonly #history: JobHistory;
  readonly #desk: OrderDesk;
  /** Those that wait and those that run, oldest first. */
  readonly #jobs = new Map<string, WarmUpJob>();
  /** Hosts chosen in an earlier run of this program. */
  readonly #chosen = new Map<WarmUpJob, NonNullable<OpenJob['hosts']>>();
  /** Begun again before their hosts were chosen. */
  readonly #resumed = new Set<WarmUpJob>();
  readonly #renewals = new Map<WarmUpJob, () => Promise<void>>();
  readonly #running = new Set<Promise<void>>();
  readonly #ended = new Map<string, number>();
  #lastId = 0;
  #isClosed = false;

  private constructor(parts: WarmUpsParts, history: JobHistory) {
    this.#parts = parts;
    this.#history = history;
    const { clock, random } = parts;
    this.#desk = new OrderDesk({
      clock,
      random,
      onUnauthorized: (job) => void this.#renewals.get(job)?.(),
    });
  }

  /** Opens what is kept of earlier jobs; those that had not ended begin again, or end as interrupted. */
  static async open(parts: WarmUpsParts): Promise<WarmUps> {
    const { history, open } = await JobHistory.open(parts.directory, parts);
    const warmUps = new WarmUps(parts, history);
    for (const { id } of history.ended()) warmUps.#lastId = Math.max(warmUps.#lastId, Number(id));
    for (const row of open) await warmUps.#resume(row);
    warmUps.#advance();
    return warmUps;
  }

  /** Who is told of connected hosts. */
  get listener(): WarmListener {
    return this.#desk;
  }

  /** Hosts that could be chosen now. */
  hosts(): readonly WarmHost[] {
    return this.#desk.hosts();
  }

  /** How many have not ended, by state. */
  get open(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const { state } of this.#jobs.values()) counts.set(state, (counts.get(state) ?? 0) + 1);
    return counts;
  }

  /** How many ended since the start, by state. */
  get ended(): ReadonlyMap<string, number> {
    return this.#ended;
  }

  /** Takes a warm-up on. Throws ERR_REQUEST or ERR_URL naming a field, ERR_BUSY when too many wait. */
  async submit(request: WarmUpRequest, source: JobSource): Promise<JobSummary> {
    checkRequest(request);
    const waiting = this.#jobs.values().filter(({ state }) => state === 'waiting');
    if ([...waiting].length >= MAX_WAITING || this.#isClosed) {
      throw new CodedError('ERR_BUSY', `${MAX_WAITING} warm-ups are waiting already`, {
        detail: { retryAfterMs: RETRY_AFTER_MS },
      });
    }
    const createdMs = this.#parts.clock.now();
    // A number, as Harbor wants it, and one that no restart uses again.
    this.#lastId = Math.max(this.#lastId + 1, Math.floor(createdMs));
    const job = new WarmUpJob({ id: `${this.#lastId}`, request, source, createdMs });
    this.#jobs.set(job.id, job);
    await this.#keep(job);
    this.#advance();
    return job.summary();
  }

  /** All that are remembered. */
  list(): ReadonlyMap<string, () => JobSummary> {
    const all = new Map<string, () => JobSummary>();
    for (const record of this.#history.ended()) all.set(record.id, () => summaryOf(record));
    for (const job of this.#jobs.values()) all.set(job.id, () => job.summary());
    return all;
  }

  /** Undefined for one that is not known, or not any more. */
  find(id: string): JobRecord | undefined {
    return this.#jobs.get(id)?.record() ?? this.#history.find(id);
  }

  /** Stops a job; one that has ended stays as it is. False for one that is not known. */
  async cancel(id: string): Promise<boolean> {
    const job = this.#jobs.get(id);
    if (job === undefined) return this.#history.find(id) !== undefined;
    const isWaiting = job.state === 'waiting';
    job.controller.abort(new CodedError('ERR_INTERRUPTED', 'the warm-up was cancelled'));
    if (isWaiting) await this.#end(job);
    return true;
  }

  /** Stops for a restart: what runs is kept as it is. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const stopping = new CodedError('ERR_INTERRUPTED', 'the supernode is stopping');
    for (const job of this.#jobs.values()) job.controller.abort(stopping);
    await Promise.allSettled(this.#running);
    this.#desk[Symbol.dispose]();
    await this.#history[Symbol.asyncDispose]();
  }

  #advance(): void {
    if (this.#isClosed) return;
    for (const job of byImportance(this.#jobs.values())) {
      const most = MAX_RUNNING + (job.priority === 'release' ? RELEASE_RUNNING : 0);
      if (this.#running.size >= most) return;
      if (job.state !== 'waiting' || job.controller.signal.aborted) continue;
      job.state = 'resolving';
      const run = this.#run(job).finally(() => {
        this.#running.delete(run);
        this.#advance();
      });
      this.#running.add(run);
    }
  }

  async #run(job: WarmUpJob): Promise<void> {
    const { clock } = this.#parts;
    using deadline = clock.deadline(job.request.timeoutMs ?? TIMEOUT_MS);
    const signal = AbortSignal.any([job.controller.signal, deadline.signal]);
    try {
      job.startedMs = clock.now();
      const tasks = await this.#tasksOf(job, signal);
      if (this.#resumed.delete(job)) await clock.sleep(COMEBACK_MS, { signal });
      job.begin(tasks, this.#targetsOf(job));
      job.state = 'running';
      await this.#keep(job);
      this.#desk.add(job);
      await abortable(job.settled, signal);
    } catch (error) {
      job.error = CodedError.from(error);
    } finally {
      this.#desk.remove(job);
      this.#renewals.delete(job);
    }
    // Begun again at the next start.
    if (!this.#isClosed) await this.#end(job);
  }

  async #tasksOf(job: WarmUpJob, signal: AbortSignal): Promise<readonly WarmTask[]> {
    const { request, source } = job;
    const { image } = request;
    if (image === undefined) return urlTasks(request);
    const resolving = this.#parts.resolveImage({ ...request, image }, { source, signal });
    const resolved = await abortable(resolving, signal);
    job.authorization = resolved.authorization;
    let renewing: Promise<void> | undefined;
    const renew = async (): Promise<void> => {
      // A failure shows at the next refusal.
      const next = await resolved.renew({ signal }).catch(() => undefined);
      job.authorization = next ?? job.authorization;
      renewing = undefined;
    };
    this.#renewals.set(job, async () => (renewing ??= renew()));
    return resolved.tasks;
  }

  #targetsOf(job: WarmUpJob): readonly Omit<WarmHost, 'order'>[] {
    const chosen = this.#chosen.get(job);
    this.#chosen.delete(job);
    if (chosen !== undefined) return chosen.map((host) => ({ ...host, takesOrders: true }));
    const { to } = job.request;
    const hosts = pickHosts(parseTarget(to, 'to'), this.#desk.hosts(), job.id);
    if (hosts.length > 0) return hosts;
    throw new CodedError('ERR_NOT_FOUND', `no connected host is meant by ${to}`);
  }

  async #end(job: WarmUpJob): Promise<void> {
    job.finishedMs = this.#parts.clock.now();
    const isCancelled = job.controller.signal.aborted;
    const reason = job.error ?? new CodedError('ERR_INTERRUPTED', 'the warm-up was cancelled');
    for (const host of job.hosts.values()) job.note(host, () => host.giveUp(reason));
    const hasFailed = [...job.hosts.values()].some(({ failed }) => failed > 0);
    const ended = job.error !== undefined || hasFailed ? 'failed' : 'done';
    job.state = isCancelled ? 'cancelled' : ended;
    const record = job.record();
    const { id, state, hosts, error } = record;
    this.#ended.set(state, (this.#ended.get(state) ?? 0) + 1);
    this.#parts.log.info({ warmUp: id, state, hosts, code: error?.code }, 'warm-up ended');
    this.#jobs.delete(id);
    await this.#history.end(record);
  }

  async #resume(row: OpenJob): Promise<void> {
    const { id, source, createdMs, request, hosts, record } = row;
    this.#lastId = Math.max(this.#lastId, Number(id));
    if (request === undefined) {
      const message = 'the supernode was restarted, and credentials are not kept: order it again';
      const error = new CodedError('ERR_INTERRUPTED', message).toObject();
      const finished = new Date(this.#parts.clock.now()).toISOString();
      await this.#history.end({ ...record, state: 'interrupted', error, finished });
      return;
    }
    const job = new WarmUpJob({ id, source, createdMs, request });
    if (hosts === undefined) this.#resumed.add(job);
    else this.#chosen.set(job, hosts);
    this.#jobs.set(id, job);
  }

  async #keep(job: WarmUpJob): Promise<void> {
    const { id, source, createdMs, request } = job;
    const hosts = [...job.hosts.values()].map((host) => host.chosen);
    await this.#history.keep({
      v: 1,
      id,
      source,
      createdMs,
      ...(isKeepable(request) ? { request } : {}),
      ...(hosts.length === 0 ? {} : { hosts }),
      record: job.record(),
    });
  }
}

function urlTasks(request: WarmUpRequest): WarmTask[] {
  const { headers, tag, application, filteredQueryParams, digest } = request;
  const common = {
    ...(headers === undefined ? {} : { headers }),
    ...(tag === undefined ? {} : { tag }),
    ...(application === undefined ? {} : { application }),
    ...(filteredQueryParams === undefined ? {} : { filteredQueryParams }),
    ...(digest === undefined ? {} : { digest }),
  };
  return urlsOf(request).map((url) => ({ spec: { url, ...common }, isAuthorized: false }));
}

function summaryOf({ contents: _contents, results: _results, ...summary }: JobRecord): JobSummary {
  return summary;
}
