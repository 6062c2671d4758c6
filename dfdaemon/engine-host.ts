import { CodedError } from '../core/base/error.ts';
import type { Clock } from '../core/base/clock.ts';
import type { Log } from '../core/base/log.ts';
import { programVersion } from '../core/base/version.ts';
import type { DownloadEvent, DownloadRequest } from '../core/swarm/download-events.ts';
import type { Engine } from '../core/swarm/engine.ts';
import { limitNames } from '../core/swarm/host-limits.ts';
import { setTaskLimits, taskLimits } from '../core/swarm/task-limits.ts';
import { AdaptiveIo } from './adaptive/adaptive-io.ts';
import type { AdaptiveParts, AdaptiveReport } from './adaptive/adaptive-io.ts';
import { DownloadTally } from './download-tally.ts';
import { DownloadSlots } from './local-api/download-slots.ts';
import type {
  HostHealth,
  HostStatus,
  LimitChanges,
  LimitsReport,
  ServedHost,
  SupernodeHealth,
  TaskSummary,
} from './local-api/served-host.ts';
import { LoopLag } from './loop-lag.ts';
import { DaemonMetrics } from './metrics.ts';
import { ForwardCounts } from './proxy/forward-counts.ts';
import { RegistryCounts } from './proxy/registry-counts.ts';

const MAX_REPAIRS_SHOWN = 100;

type StoredTask = ReturnType<Engine['store']['tasks']>[number];

/** What the host is told besides its engine. */
export interface EngineHostOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly advertise?: readonly string[] | undefined;
  readonly quotaBytes?: number | undefined;
  /** How other programs of this machine are watched; absent: nothing yields to them. */
  readonly watch?: Pick<AdaptiveParts, 'line' | 'disk'> | undefined;
}

/** This host as its local API shows it: the engine (which the caller closes), and what was counted of it. */
export class EngineHost implements ServedHost, Disposable {
  readonly slots = new DownloadSlots();
  /** Of the registry mirror. */
  readonly registryCounts = new RegistryCounts();
  /** Of the forward proxy. */
  readonly forwardCounts = new ForwardCounts();
  /** The port of `/healthz`, once it is known. */
  proxyPort: number | undefined;
  readonly #engine: Engine;
  readonly #options: EngineHostOptions;
  readonly #tally: DownloadTally;
  readonly #lag: LoopLag;
  readonly #metrics: DaemonMetrics;
  readonly #adaptive: AdaptiveIo | undefined;
  readonly #startedMs: number;

  constructor(engine: Engine, options: EngineHostOptions) {
    const { clock, log, watch } = options;
    this.#engine = engine;
    this.#options = options;
    this.#tally = new DownloadTally(log);
    this.#lag = new LoopLag(clock);
    this.#metrics = new DaemonMetrics(this.#lag);
    this.#adaptive = watch && new AdaptiveIo({ ...watch, ...movedBy(engine), clock, log });
    this.#startedMs = clock.monotonic();
  }

  [Symbol.dispose](): void {
    this.#lag[Symbol.dispose]();
    this.#adaptive?.[Symbol.dispose]();
  }

  download(
    request: DownloadRequest,
    options: { signal: AbortSignal },
  ): AsyncIterable<DownloadEvent> {
    return this.#tally.count(request, (counted) => this.#engine.download(counted, options));
  }

  content(
    of: { readonly task: string; readonly version: string },
    options: { signal: AbortSignal },
  ): AsyncIterable<Uint8Array> {
    return this.#engine.content(of, options);
  }

  tasks(): readonly TaskSummary[] {
    return this.#engine.store.tasks().map(summaryOf);
  }

  versions(task: string): readonly TaskSummary[] {
    const { store } = this.#engine;
    // The store answers at once for a task it does not have; only then is the whole of it looked through.
    if (store.find(task) === undefined) return [];
    const versions = store.tasks().filter(({ taskId }) => taskId === task);
    return versions.toSorted((a, b) => a.createdMs - b.createdMs).map(summaryOf);
  }

  async remove(of: { readonly task: string; readonly version: string }): Promise<void> {
    const engine = this.#engine;
    const stored = engine.store.find(of.task, of.version);
    if (stored === undefined) {
      throw new CodedError('ERR_NOT_FOUND', `task ${of.task} is not on this host`);
    }
    if (stored.inUse) throw inUse(of);
    try {
      await engine.tasks.remove(stored);
    } catch (error) {
      // Somebody took it up between the look and the removal.
      if (CodedError.from(error).code === 'ERR_BUSY') throw inUse(of, error);
      throw error;
    }
  }

  async keep(
    of: { readonly task: string; readonly version: string },
    forMs: number | undefined,
  ): Promise<void> {
    const { store } = this.#engine;
    const stored = store.find(of.task, of.version);
    if (stored === undefined) {
      throw new CodedError('ERR_NOT_FOUND', `task ${of.task} is not on this host`);
    }
    await store.keep(stored, forMs);
    this.#options.log.info({ task: of.task, version: of.version, forMs }, 'task kept');
  }

  limits(): LimitsReport {
    const { own, share, inForce } = this.#engine.limits;
    const tasks = taskLimits(this.#engine.tasks);
    return { own, cell: share, inForce, adaptive: this.#adaptiveReport, tasks };
  }

  async setLimits({ tasks = [], ...changes }: LimitChanges): Promise<void> {
    // The one thing that may be refused comes first.
    setTaskLimits(this.#engine.tasks, tasks);
    this.#engine.limits.set(changes);
    this.#options.log.info({ ...changes, tasks }, 'limits set');
  }

  health(): HostHealth {
    const supernode = this.#supernode();
    const { store } = this.#engine;
    const { linkPort: port, workers } = this.#engine.pool;
    const isWhole = supernode.state !== 'disconnected' && workers.alive === workers.total;
    const running = isWhole ? 'ok' : 'degraded';
    const alive = workers.alive === 0 ? 'down' : running;
    return {
      status: this.slots.isStopping ? 'stopping' : alive,
      store: { isReady: true, openMs: Math.round(store.openMs), repairs: store.repairCount },
      link: { isReady: port !== undefined, ...(port === undefined ? {} : { port }) },
      workers,
      supernode,
    };
  }

  async status(): Promise<HostStatus> {
    const { clock, advertise = [], quotaBytes } = this.#options;
    const engine = this.#engine;
    const { bytesIn, bytesOut, originBytes, duplicateBytes, links } = await engine.pool.stats();
    const record = engine.member?.record;
    const { proxyPort } = this;
    return {
      ...this.health(),
      version: programVersion(),
      pid: process.pid,
      uptimeSeconds: Math.floor((clock.monotonic() - this.#startedMs) / 1000),
      peer: engine.key.peerId,
      ...(record === undefined ? {} : { role: record.role, idc: record.idc }),
      addresses: advertise,
      ...(proxyPort === undefined ? {} : { proxyPort }),
      downloads: {
        active: this.slots.active,
        activeTasks: engine.tasks.active,
        done: this.#tally.done,
        failed: this.#tally.failed,
      },
      storage: {
        directory: engine.store.directory,
        bytes: engine.store.usedBytes,
        tasks: engine.store.tasks().length,
        ...(quotaBytes === undefined ? {} : { quotaBytes }),
        keptBytes: engine.store.keptBytes,
        repairs: engine.store.repairs.slice(0, MAX_REPAIRS_SHOWN),
      },
      traffic: {
        linkReceivedBytes: bytesIn,
        linkSentBytes: bytesOut,
        originReceivedBytes: originBytes,
        duplicateBytes,
        links,
      },
    };
  }

  async metrics(): Promise<{ contentType: string; text: string }> {
    const engine = this.#engine;
    return this.#metrics.render({
      transfer: await engine.pool.stats(),
      tally: this.#tally,
      registry: this.registryCounts.all(),
      forward: this.forwardCounts.all(),
      activeDownloads: this.slots.active,
      activeTasks: engine.tasks.active,
      storeBytes: engine.store.usedBytes,
      storeTasks: engine.store.tasks().length,
      quotaBytes: this.#options.quotaBytes,
      limits: engine.limits.inForce,
      held: engine.limits.held,
      adaptive: this.#adaptiveReport,
      isSupernodeConnected: this.#supernode().state === 'connected',
    });
  }

  get #adaptiveReport(): AdaptiveReport {
    return this.#adaptive?.report ?? { isOn: false, blind: [] };
  }

  #supernode(): SupernodeHealth {
    const client = this.#engine.member?.client;
    if (client === undefined) return { state: 'none' };
    if (client.isConnected) return { state: 'connected' };
    const error = client.lastError;
    if (error === undefined) return { state: 'disconnected', reason: 'connecting' };
    return { state: 'disconnected', code: error.code, reason: error.message };
  }
}

/** What adaptive control sees of an engine, and acts on. */
function movedBy({
  limits,
  pool,
  tasks,
}: Engine): Omit<AdaptiveParts, 'line' | 'disk' | 'clock' | 'log'> {
  return {
    activity: () =>
      tasks.active + limitNames.reduce((sum, name) => sum + limits.passage(name).passed, 0),
    own: async () => {
      const { receivedBytes: download, bytesOut: upload } = await pool.stats();
      // Bodies that the proxy reads from origins itself pass that limit too, and no worker.
      const { passed: origin } = limits.passage('origin');
      return { download, origin, upload };
    },
    apply: (ceilings) => limits.setCeilings(ceilings),
  };
}

function summaryOf(stored: StoredTask): TaskSummary {
  const { url, length, wholeDigest: digest, keptUntilMs } = stored;
  return {
    task: stored.taskId,
    version: stored.version,
    ...(url === undefined ? {} : { url }),
    ...(length === undefined ? {} : { length }),
    receivedBytes: stored.receivedBytes,
    pieceLength: stored.pieceLength,
    ...(digest === undefined ? {} : { digest }),
    isComplete: stored.isComplete,
    isPrivate: stored.isPrivate,
    isInUse: stored.inUse,
    ...(keptUntilMs === undefined ? {} : { keptUntilMs }),
    createdMs: stored.createdMs,
    accessedMs: stored.accessedMs,
  };
}

function inUse(
  of: { readonly task: string; readonly version: string },
  cause?: unknown,
): CodedError {
  const { task, version } = of;
  return new CodedError('ERR_TASK_IN_USE', 'the task is in use', {
    cause,
    detail: { task, version },
  });
}
