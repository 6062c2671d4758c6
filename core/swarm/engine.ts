import { join } from 'node:path';
import { SteadyClock, SystemClock } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { silentLog } from '../base/log.ts';
import type { Log } from '../base/log.ts';
import { SystemRandom } from '../base/random.ts';
import type { Random } from '../base/random.ts';
import { selfSignedCertificate } from '../identity/certificate.ts';
import { HostKey } from '../identity/host-key.ts';
import { DEFAULT_REQUESTS } from '../origin/origin-host-limit.ts';
import type { OriginHostLimit } from '../origin/origin-host-limit.ts';
import { PieceStore } from '../store/piece-store.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { CallTaker, CallWay } from './call-taker.ts';
import type { CellMember } from './cell-member.ts';
import { download, failedEvent } from './download.ts';
import type { DownloadEvent, DownloadRequest, Downloader } from './download-events.ts';
import { FarTurns } from './far-turns.ts';
import { HostGauge } from './host-gauge.ts';
import { checkBytes, checkStored } from './whole-digest.ts';
import { HostLimits } from './host-limits.ts';
import type { RateLimits } from './host-limits.ts';
import { openContent } from './open-content.ts';
import type { OpenContent } from './open-content.ts';
import { Registrar } from './registrar.ts';
import type { Registration, SwarmRegistration } from './registrar.ts';
import { SwarmTasks } from './swarm-tasks.ts';
import type { JoinOptions, TaskLease } from './swarm-tasks.ts';
import { TransferPool } from './transfer-pool.ts';

/** How this host takes part; all sizes in bytes, all rates in bytes per second, 0 for no limit. */
export interface EngineOptions {
  readonly dataDir: string;
  /** Where content is kept; default a folder in `dataDir`. */
  readonly storeDir?: string;
  /** `HOST:PORT` of supernodes; none: every download goes to its origin. */
  readonly supernodes: readonly string[];
  readonly joinToken?: string;
  readonly idc?: string;
  readonly location?: string;
  readonly wantsSeed?: boolean;
  /** True: the supernode may order this host to fetch content before anybody asks for it. */
  readonly takesOrders?: boolean;
  /** Makes who runs the commands that the cell calls for; absent: this host takes no calls. */
  readonly calls?: (way: CallWay) => Promise<CallTaker>;
  readonly encryption?: 'tls' | 'none';
  /** Default auto. */
  readonly compression?: 'auto' | 'off';
  /** Where the piece link listens; absent: any free port on all addresses. */
  readonly listen?: { readonly host: string; readonly port: number };
  /** Addresses, without port, at which others reach the piece link; none: where the supernode sees this host. */
  readonly advertise?: readonly string[];
  /** CIDRs the origin fetcher may connect to beyond the default; undefined: any address. */
  readonly originAllow?: readonly string[];
  readonly quota?: number;
  readonly reserve?: number;
  readonly ttlMs?: number;
  /** How long closing may spend on bringing stored bytes to the platter. */
  readonly settleMs?: number;
  readonly uploadRate?: number;
  readonly downloadRate?: number;
  readonly originRate?: number;
  /** Hosts of origins with limits of their own. */
  readonly originHosts?: readonly OriginHostLimit[];
  readonly workers?: number;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Log;
}

const SWEEP_MS = 60_000;

/** Everything a host does in the swarm: fetch, keep, serve. dfdaemon wraps one; dfget may run one itself. */
export class Engine implements Downloader {
  readonly store: PieceStore;
  readonly pool: TransferPool;
  readonly tasks: SwarmTasks;
  readonly member: CellMember | undefined;
  readonly key: HostKey;
  readonly limits: HostLimits;
  readonly #registrar: Registrar;
  readonly #clock: Clock;
  readonly #resources: AsyncDisposableStack;

  private constructor(parts: {
    readonly store: PieceStore;
    readonly pool: TransferPool;
    readonly tasks: SwarmTasks;
    readonly member: CellMember | undefined;
    readonly key: HostKey;
    readonly limits: HostLimits;
    readonly clock: Clock;
    readonly resources: AsyncDisposableStack;
  }) {
    this.store = parts.store;
    this.pool = parts.pool;
    this.tasks = parts.tasks;
    this.member = parts.member;
    this.key = parts.key;
    this.limits = parts.limits;
    this.#clock = parts.clock;
    this.#resources = parts.resources;
    this.#registrar = new Registrar(parts);
  }

  /** Opens store, workers and mesh; on failure closes what was opened and throws. */
  static async open(options: EngineOptions): Promise<Engine> {
    // What is kept and believed here must not expire because somebody sets the machine's clock.
    const clock = new SteadyClock(options.clock ?? new SystemClock());
    const random = options.random ?? new SystemRandom();
    const log = options.log ?? silentLog;
    await using stack = new AsyncDisposableStack();
    const key = await HostKey.load(join(options.dataDir, 'identity', 'host.key'));
    const store = stack.use(await openStore(options, { clock, log }));
    const hooks: { onAltered(key: string): void } = { onAltered: () => undefined };
    const limits = new HostLimits(limitsOf(options), clock, options.originHosts);
    const pool = stack.use(await startPool(options, { key, limits, clock, random, log, hooks }));
    store.onRemove = async (task) => pool.dropTask(task);
    const member = await openMember(options, { key, pool, clock, random, log });
    if (member !== undefined) stack.use(member);
    const context = { key, store, pool, member, clock, random, log };
    const downloadLimiter = limits.limiters.download;
    const tasks = stack.use(
      await SwarmTasks.open({
        ...context,
        downloadLimiter,
        farTurns: new FarTurns(limits.parts.idcs, clock),
      }),
    );
    hooks.onAltered = (name) => tasks.recheck(name);
    const sweep = clock.every(SWEEP_MS, () => {
      store
        .sweep()
        .then(async () => tasks.forgetEvicted())
        .catch((error: unknown) => log.warn({ err: error }, 'sweep failed'));
    });
    stack.defer(() => sweep.cancel());
    const calls = member && (await options.calls?.(member.callWay()));
    if (calls !== undefined) member?.takeCalls(calls);
    const counts = (): Record<string, number> => ({
      calls: calls?.active ?? 0,
      downloads: tasks.active,
      tasks: store.tasks().length,
      storedBytes: store.usedBytes,
    });
    const gauge = new HostGauge({ storeDir: store.directory, counts, clock });
    member?.tellValues(async () => gauge.read());
    const engine = new Engine({ ...context, tasks, limits, resources: stack.move() });
    member?.start(
      tasks,
      { limits, named: limits.parts },
      options.takesOrders === true ? engine : undefined,
    );
    return engine;
  }

  async *download(
    request: DownloadRequest,
    options: { signal: AbortSignal },
  ): AsyncIterable<DownloadEvent> {
    try {
      const { timeoutMs } = request;
      using deadline =
        timeoutMs === undefined ? undefined : this.#clock.deadline(timeoutMs, options);
      const signal = deadline?.signal ?? options.signal;
      yield* download(this, request, { clock: this.#clock, signal });
    } catch (error) {
      yield failedEvent(error);
    }
  }

  async *content(
    done: { readonly task: string; readonly version: string },
    options: { signal: AbortSignal },
  ): AsyncIterable<Uint8Array> {
    const stored = this.store.find(done.task, done.version);
    if (stored?.isComplete !== true) {
      throw new CodedError('ERR_NOT_FOUND', `task ${done.task} is not complete on this host`);
    }
    using _inUse = stored.acquire();
    for await (const chunk of stored.read({ start: 0, end: stored.length ?? 0 })) {
      options.signal.throwIfAborted();
      yield chunk;
    }
  }

  /**
   * Opens the content that a request means, to be read in order while it comes in; dispose it when that is done.
   * `readFrom` is the byte at which the first read will begin; default 0.
   */
  async openContent(
    request: DownloadRequest,
    options: { readonly signal: AbortSignal; readonly readFrom?: number },
  ): Promise<OpenContent> {
    return openContent(this, request, { ...options, clock: this.#clock });
  }

  /** Finds out what the request means: tiny content at once, or a version to take part in. */
  async register(
    request: DownloadRequest,
    options: { signal: AbortSignal },
  ): Promise<Registration> {
    return this.#registrar.register(request, options);
  }

  /** Takes part in a version until it is complete; dispose the lease when it is no longer wanted. */
  async join(registration: SwarmRegistration, options: JoinOptions): Promise<TaskLease> {
    return this.tasks.join(registration, options);
  }

  /** The digest of inline content; throws ERR_DIGEST_MISMATCH when it is not the expected one. */
  async checkBytes(
    bytes: Uint8Array,
    expected: string | undefined,
    known: string | undefined,
  ): Promise<string> {
    return checkBytes(bytes, expected, known);
  }

  /** The digest of stored content, as far as it is known or asked for; a mismatch removes the content. */
  async checkStored(
    stored: StoredTask,
    expected: string | undefined,
    options: { signal: AbortSignal },
  ): Promise<string | undefined> {
    const discard = async (): Promise<void> => this.tasks.discard(stored);
    return checkStored({ pool: this.pool, stored, discard }, expected, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

function limitsOf(options: EngineOptions): RateLimits {
  const { downloadRate = 0, uploadRate = 0, originRate = 0 } = options;
  return { download: downloadRate, upload: uploadRate, origin: originRate };
}

/** Opens an engine; the name dfget imports. */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  return Engine.open(options);
}

/** The membership of this host; the mesh's libraries are loaded only where there is a supernode. */
async function openMember(
  options: EngineOptions,
  parts: Parameters<typeof CellMember.open>[1],
): Promise<CellMember | undefined> {
  if (options.supernodes.length === 0) return undefined;
  const { CellMember: Member } = await import('./cell-member.ts');
  return Member.open(options, parts);
}

async function openStore(
  options: EngineOptions,
  parts: { readonly clock: Clock; readonly log: Log },
): Promise<PieceStore> {
  const { dataDir, quota, reserve, ttlMs, settleMs } = options;
  return PieceStore.open({
    directory: options.storeDir ?? join(dataDir, 'store'),
    ...parts,
    ...(quota === undefined || quota === 0 ? {} : { quotaBytes: quota }),
    ...(reserve === undefined ? {} : { reserveBytes: reserve }),
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(settleMs === undefined ? {} : { settleMs }),
  });
}

async function startPool(
  options: EngineOptions,
  parts: {
    readonly key: HostKey;
    readonly limits: HostLimits;
    readonly clock: Clock;
    readonly random: Random;
    readonly log: Log;
    readonly hooks: { onAltered(key: string): void };
  },
): Promise<TransferPool> {
  const { key, limits, clock, random, log, hooks } = parts;
  const origin = {
    allow: options.originAllow,
    rate: limits.limiters.origin.shared,
    connectionsPerHost: DEFAULT_REQUESTS,
    ...(options.originHosts === undefined ? {} : { hosts: options.originHosts }),
  };
  const onAltered = (name: string): void => hooks.onAltered(name);
  const common = { origin, clock, random, log, originRates: limits.parts.originHosts, onAltered };
  const workers = options.workers === undefined ? {} : { workers: options.workers };
  if (options.supernodes.length === 0) return TransferPool.start({ ...common, ...workers });
  const { certificatePem, keyPem } = selfSignedCertificate(key, { now: clock.now() });
  return TransferPool.start({
    ...common,
    ...workers,
    listen: options.listen ?? { host: '0.0.0.0', port: 0 },
    link: {
      hostKeyPem: key.exportPem(),
      certificatePem,
      certificateKeyPem: keyPem,
      encryption: options.encryption ?? 'tls',
      isCompressing: options.compression !== 'off',
      uploadRate: limits.limiters.upload.shared,
      downloadRate: limits.limiters.download.shared,
    },
  });
}
