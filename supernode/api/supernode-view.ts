import type { ErrorObject } from '../../core/base/error.ts';
import type { TokenOptions, TokenSummary } from '../membership/tokens.ts';
import type { Page, Paged } from '../../core/base/paging.ts';

/** Whether the supernode can serve, and what is in the way. */
export interface ServingStatus {
  readonly isReady: boolean;
  readonly problems: readonly string[];
}

/** What the seed has of one version. */
export interface SeedRow {
  readonly state: 'idle' | 'fetching' | 'partial' | 'complete' | 'failed';
  readonly pieces: number;
  /** Bytes taken from the origin since this program started. */
  readonly originBytes: number;
  /** Without user, query and fragment, which may hold secrets. */
  readonly url: string;
  readonly failure?: ErrorObject;
}

/** One version of a task; byte counts are the sums of what its hosts reported. */
export interface VersionRow {
  readonly version: string;
  readonly pieceLength: number;
  /** Bytes; absent while nobody knows. */
  readonly length?: number;
  readonly pieces?: number;
  readonly isPrivate: boolean;
  readonly hosts: number;
  readonly completeHosts: number;
  readonly activeHosts: number;
  readonly fromPeers: number;
  readonly fromSeed: number;
  readonly fromOrigin: number;
  readonly seed?: SeedRow;
}

/** A task and its versions. */
export interface TaskRow {
  readonly task: string;
  readonly versions: readonly VersionRow[];
}

/** What one host has of one version, and where it came from, in bytes. */
export interface PeerRow {
  readonly peer: string;
  readonly hostname?: string;
  readonly idc?: string;
  readonly pieces: number;
  readonly isComplete: boolean;
  readonly isActive: boolean;
  readonly parents: readonly string[];
  readonly children: number;
  /** Pieces it was blamed for by its children, in this version. */
  readonly failures: number;
  /** Hosts that accuse it of wrong pieces, in any task. */
  readonly accusers: readonly string[];
  readonly fromPeers: number;
  readonly fromSeed: number;
  readonly fromOrigin: number;
}

/** A task with the hosts that take part in it. */
export interface TaskDetail {
  readonly task: string;
  readonly versions: readonly (VersionRow & { readonly peers: Paged<PeerRow> })[];
}

/** A connected host. */
export interface HostRow {
  readonly peer: string;
  readonly role: 'host' | 'seed';
  readonly hostname?: string;
  readonly idc?: string;
  readonly location?: string;
  readonly addresses: readonly string[];
  readonly isConnected: boolean;
  readonly isReachable: boolean;
  readonly isQuarantined: boolean;
  readonly accusers: readonly string[];
  /** ISO 8601. */
  readonly lastSeen: string;
}

/** A host and what it holds. */
export interface HostDetail extends HostRow {
  readonly tasks: Paged<{
    readonly task: string;
    readonly version: string;
    readonly pieces: number;
    readonly isComplete: boolean;
    readonly isActive: boolean;
  }>;
}

/** What the API shows of a running supernode. */
export interface SupernodeView {
  status(): ServingStatus;
  tasks(page: Page): Paged<TaskRow>;
  /** Undefined for a task that is not known; `page` is that of its peers, in each version. */
  task(task: string, page: Page): TaskDetail | undefined;
  hosts(page: Page): Paged<HostRow>;
  /** Undefined for a host that is not connected; `page` is that of its tasks. */
  host(peer: string, page: Page): HostDetail | undefined;
}

/** What the API can have done; an `Authority` is all of it. */
export interface SupernodeActions {
  createToken(options: TokenOptions): Promise<string>;
  tokens(): Promise<TokenSummary[]>;
  deleteToken(id: string): Promise<boolean>;
  revoke(peer: string): Promise<void>;
}
