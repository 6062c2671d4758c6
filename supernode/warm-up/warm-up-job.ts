import type { Priority } from '../../core/base/priority.ts';
import type { CodedError } from '../../core/base/error.ts';
import { withoutSecrets } from '../../core/piece/task-id.ts';
import type { TaskSpec } from '../../core/wire/messages.ts';
import { JobHost } from './job-host.ts';
import type { JobRecord, JobSource, JobState, JobSummary } from './job-record.ts';
import type { WarmHost } from './warm-host.ts';
import { urlsOf } from './warm-up-request.ts';
import type { WarmUpRequest } from './warm-up-request.ts';

/** One content to be brought to the hosts. */
export interface WarmTask {
  /** Without the authorization of a registry. */
  readonly spec: TaskSpec;
  /** True: the registry's authorization goes with it. */
  readonly isAuthorized: boolean;
  /** Bytes, where the manifest tells. */
  readonly size?: number;
}

/** One warm-up: what is brought where, and how far it is. Holds no timer and speaks to nobody. */
export class WarmUpJob {
  readonly id: string;
  readonly request: WarmUpRequest;
  readonly source: JobSource;
  readonly createdMs: number;
  readonly hosts = new Map<string, JobHost>();
  readonly controller = new AbortController();
  state: JobState = 'waiting';
  startedMs: number | undefined;
  finishedMs: number | undefined;
  error: CodedError | undefined;
  tasks: readonly WarmTask[] = [];
  /** Header for tasks of the registry. */
  authorization: string | undefined;
  readonly #settled = Promise.withResolvers<void>();
  #open = 0;

  constructor(about: Pick<WarmUpJob, 'id' | 'request' | 'source' | 'createdMs'>) {
    this.id = about.id;
    this.request = about.request;
    this.source = about.source;
    this.createdMs = about.createdMs;
  }

  /** What its downloads are among others. */
  get priority(): Priority {
    return this.request.priority ?? 'warm-up';
  }

  /** Resolves when every host has everything, or cannot have it. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  /** Begins with these tasks for these hosts. */
  begin(tasks: readonly WarmTask[], hosts: readonly Omit<WarmHost, 'order'>[]): void {
    this.tasks = tasks;
    for (const host of hosts) this.hosts.set(host.peer, new JobHost(host, tasks.length));
    this.#open = [...this.hosts.values()].filter((host) => !host.isOver).length;
    this.#settle();
  }

  /** The order for one task of one host. */
  order(index: number): { id: string; spec: TaskSpec; priority: Priority } | undefined {
    const task = this.tasks[index];
    if (task === undefined) return undefined;
    const { authorization } = this;
    const isSent = task.isAuthorized && authorization !== undefined;
    const headers = isSent ? { headers: { ...task.spec.headers, authorization } } : {};
    const { id, priority } = this;
    return { id: `${id}.${index}`, spec: { ...task.spec, ...headers }, priority };
  }

  /** Notes what a host did, by `change`; the job settles with its last host. */
  note(host: JobHost, change: (host: JobHost) => void): void {
    const wasOver = host.isOver;
    change(host);
    if (wasOver || !host.isOver) return;
    this.#open -= 1;
    this.#settle();
  }

  summary(): JobSummary {
    const { image, platforms, to, priority } = this.request;
    const { startedMs, finishedMs, error } = this;
    const urls = urlsOf(this.request).map(withoutSecrets);
    const counts = { total: this.hosts.size, done: 0, failed: 0 };
    const bytes = { received: 0, fromPeers: 0, fromSeed: 0, fromOrigin: 0, fromCache: 0 };
    for (const host of this.hosts.values()) {
      if (host.isOver && host.failed === 0) counts.done += 1;
      if (host.isOver && host.failed > 0) counts.failed += 1;
      const sums = host.bytes();
      bytes.received += sums.received;
      bytes.fromPeers += sums.fromPeers;
      bytes.fromSeed += sums.fromSeed;
      bytes.fromOrigin += sums.fromOrigin;
      bytes.fromCache += sums.fromCache;
    }
    return {
      id: this.id,
      state: this.state,
      source: this.source,
      ...(image === undefined ? { urls } : { image }),
      ...(platforms === undefined ? {} : { platforms }),
      to,
      ...(priority === undefined ? {} : { priority }),
      created: iso(this.createdMs),
      ...(startedMs === undefined ? {} : { started: iso(startedMs) }),
      ...(finishedMs === undefined ? {} : { finished: iso(finishedMs) }),
      ...(error === undefined ? {} : { error: error.toObject() }),
      tasks: this.tasks.length,
      hosts: counts,
      bytes,
    };
  }

  record(): JobRecord {
    const hosts = [...this.hosts.values()];
    const contents = this.tasks.map(({ spec, size }, index) => ({
      url: withoutSecrets(spec.url),
      ...(spec.digest === undefined ? {} : { digest: spec.digest }),
      ...(size === undefined ? {} : { size }),
      done: hosts.filter((host) => host.stateOf(index) === 'done').length,
      failed: hosts.filter((host) => host.stateOf(index) === 'failed').length,
    }));
    return { ...this.summary(), contents, results: hosts.map((host) => host.result()) };
  }

  #settle(): void {
    if (this.#open === 0) this.#settled.resolve();
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
