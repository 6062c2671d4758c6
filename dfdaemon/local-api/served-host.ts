import type { AdaptiveReport } from '../adaptive/adaptive-io.ts';
import type { TaskLimit } from '../../core/swarm/task-limits.ts';
import type { CellShare, RateLimits } from '../../core/swarm/host-limits.ts';
import type { DownloadEvent, DownloadRequest } from '../../core/swarm/download-events.ts';
import type { DownloadSlots } from './download-slots.ts';

/** One version of a task on this host, as the local API shows it; times in ms since the epoch. */
export interface TaskSummary {
  readonly task: string;
  readonly version: string;
  /** Without credentials and query. */
  readonly url?: string;
  readonly length?: number;
  readonly receivedBytes: number;
  readonly pieceLength: number;
  readonly digest?: string;
  readonly isComplete: boolean;
  /** Fetched with headers of its user's. */
  readonly isPrivate: boolean;
  readonly isInUse: boolean;
  /** Not evicted before this time; absent: whenever there is need. */
  readonly keptUntilMs?: number;
  readonly createdMs: number;
  readonly accessedMs: number;
}

/** How the connection to a supernode stands. */
export interface SupernodeHealth {
  /** `none`: no supernode is configured. */
  readonly state: 'connected' | 'disconnected' | 'none';
  /** Code and message of what keeps it away. */
  readonly code?: string;
  readonly reason?: string;
}

/** What `/healthz` answers: `degraded` serves, and says what is missing; `down` cannot fetch or send a byte. */
export interface HostHealth {
  readonly status: 'ok' | 'degraded' | 'down' | 'stopping';
  readonly store: {
    readonly isReady: boolean;
    /** How long opening it took, ms. */
    readonly openMs: number;
    /** What was found broken since the start and put right; the log tells what. */
    readonly repairs: number;
  };
  /** `isReady` false without a supernode: there is nobody to link with. */
  readonly link: { readonly isReady: boolean; readonly port?: number };
  /** Threads that carry payload: one that ends is replaced, unless that happens again and again. */
  readonly workers: { readonly alive: number; readonly total: number };
  readonly supernode: SupernodeHealth;
}

/** What `/v1/status` answers. */
export interface HostStatus extends HostHealth {
  readonly version: string;
  readonly pid: number;
  readonly uptimeSeconds: number;
  readonly peer: string;
  /** As the cell granted them; absent before the first join. */
  readonly role?: string;
  readonly idc?: string;
  readonly addresses: readonly string[];
  readonly proxyPort?: number;
  readonly downloads: {
    /** Asked for over the local API and not ended. */
    readonly active: number;
    /** Versions being fetched, whoever asked. */
    readonly activeTasks: number;
    readonly done: number;
    readonly failed: number;
  };
  readonly storage: {
    readonly directory: string;
    readonly bytes: number;
    readonly tasks: number;
    readonly quotaBytes?: number;
    /** Of tasks that are kept from eviction, with what they still lack. */
    readonly keptBytes: number;
    /** The first of the repairs that `store.repairs` counts. */
    readonly repairs: readonly {
      readonly kind: string;
      readonly name: string;
      readonly pieces: number;
    }[];
  };
  /** Payload since the start. */
  readonly traffic: {
    readonly linkReceivedBytes: number;
    readonly linkSentBytes: number;
    readonly originReceivedBytes: number;
    readonly duplicateBytes: number;
    readonly links: number;
  };
}

/** What `/v1/limits` answers; bytes per second, 0 for no limit. */
export interface LimitsReport {
  /** As set on this host. */
  readonly own: RateLimits;
  /** This host's share of the cell's budgets, where there are any. */
  readonly cell: CellShare;
  /** The lowest of both and of what adaptive control leaves. */
  readonly inForce: RateLimits;
  /** What is left to other programs of this machine, and why. */
  readonly adaptive: AdaptiveReport;
  /** The tasks being downloaded, and what each may take. */
  readonly tasks: readonly TaskLimit[];
}

/** What a request to `/v1/limits` changes; what is not named stays. */
export interface LimitChanges extends Partial<RateLimits> {
  readonly tasks?: readonly TaskLimit[];
}

/** What the local API and the proxy port need of this host; `EngineHost` is the real one. */
export interface ServedHost {
  /** The downloads under way over the local API. */
  readonly slots: DownloadSlots;
  /** As `Downloader.download`: ends after `done` or `failed`. */
  download(
    request: DownloadRequest,
    options: { signal: AbortSignal },
  ): AsyncIterable<DownloadEvent>;
  /** The verified bytes of a complete version, in order. */
  content(
    of: { readonly task: string; readonly version: string },
    options: { signal: AbortSignal },
  ): AsyncIterable<Uint8Array>;
  /** All versions of all tasks, in no order. */
  tasks(): readonly TaskSummary[];
  /** All versions of one task, newest last. */
  versions(task: string): readonly TaskSummary[];
  /** Throws ERR_TASK_IN_USE, or ERR_NOT_FOUND. */
  remove(of: { readonly task: string; readonly version: string }): Promise<void>;
  /** Keeps a version from eviction for so long; undefined: no longer. ERR_NO_SPACE when too much would be kept, or ERR_NOT_FOUND. */
  keep(
    of: { readonly task: string; readonly version: string },
    forMs: number | undefined,
  ): Promise<void>;
  limits(): LimitsReport;
  /** Resolves when they are in force; ERR_NOT_FOUND, and nothing is changed, for a task that is not downloaded. */
  setLimits(changes: LimitChanges): Promise<void>;
  health(): HostHealth;
  status(): Promise<HostStatus>;
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
}
