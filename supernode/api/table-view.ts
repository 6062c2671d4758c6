import type { Clock } from '../../core/base/clock.ts';
import { withoutSecrets } from '../../core/piece/task-id.ts';
import type { HostEntry, PeerEntry, SwarmTable, SwarmVersion } from '../swarm-table/swarm-table.ts';
import type { SeedTask } from '../seed/seed-task.ts';
import { pageOf } from '../../core/base/paging.ts';
import type { Page, Paged } from '../../core/base/paging.ts';
import type {
  HostDetail,
  HostRow,
  PeerRow,
  SeedRow,
  ServingStatus,
  SupernodeView,
  TaskDetail,
  TaskRow,
  VersionRow,
} from './supernode-view.ts';

/** What is read of a version in the seed. */
export type SeedFacts = Pick<SeedTask, 'state' | 'failure' | 'originBytes' | 'spec'> & {
  readonly stored: { readonly pieces: { readonly count: number } };
};

export interface TableViewParts {
  readonly table: SwarmTable;
  readonly clock: Clock;
  readonly status: () => ServingStatus;
  readonly seed: (task: string, version: string) => SeedFacts | undefined;
}

/** What the swarm table and the seed know, as the API shows it. */
export class TableView implements SupernodeView {
  readonly #parts: TableViewParts;

  constructor(parts: TableViewParts) {
    this.#parts = parts;
  }

  status(): ServingStatus {
    return this.#parts.status();
  }

  tasks(page: Page): Paged<TaskRow> {
    const tasks = this.#versionsByTask();
    return pageOf(tasks.keys(), page, (task) => ({
      task,
      versions: (tasks.get(task) ?? []).map((version) => this.#versionRow(version)),
    }));
  }

  task(task: string, page: Page): TaskDetail | undefined {
    const versions = this.#versionsByTask().get(task);
    if (versions === undefined) return undefined;
    return {
      task,
      versions: versions.map((version) => ({
        ...this.#versionRow(version),
        peers: pageOf(version.peers.keys(), page, (peer) => this.#peerRow(version, peer)),
      })),
    };
  }

  hosts(page: Page): Paged<HostRow> {
    const { hosts } = this.#parts.table;
    return pageOf(hosts.keys(), page, (peer) => {
      const host = hosts.get(peer);
      return host === undefined ? undefined : this.#hostRow(host);
    });
  }

  host(peer: string, page: Page): HostDetail | undefined {
    const host = this.#parts.table.hosts.get(peer);
    if (host === undefined) return undefined;
    const held = new Map<string, { version: SwarmVersion; entry: PeerEntry }>();
    for (const version of this.#parts.table.versions()) {
      const entry = version.peers.get(peer);
      if (entry !== undefined) held.set(keyOf(version), { version, entry });
    }
    const tasks = pageOf(held.keys(), page, (key) => {
      const found = held.get(key);
      if (found === undefined) return undefined;
      const { pieces, isComplete, isActive } = found.entry;
      const { task, shape } = found.version;
      return { task, version: shape.version, pieces: pieces.count, isComplete, isActive };
    });
    return { ...this.#hostRow(host), tasks };
  }

  #versionsByTask(): Map<string, SwarmVersion[]> {
    return Map.groupBy(this.#parts.table.versions(), ({ task }) => task);
  }

  #versionRow(version: SwarmVersion): VersionRow {
    const { shape, task, pieceCount, activePeers } = version;
    const totals = { completeHosts: 0, fromPeers: 0, fromSeed: 0, fromOrigin: 0 };
    for (const entry of version.peers.values()) {
      if (entry.isComplete) totals.completeHosts += 1;
      totals.fromPeers += entry.fromPeers;
      totals.fromSeed += entry.fromSeed;
      totals.fromOrigin += entry.fromOrigin;
    }
    const seed = this.#parts.seed(task, shape.version);
    return {
      version: shape.version,
      pieceLength: shape.pieceLength,
      ...(shape.length === undefined ? {} : { length: shape.length }),
      ...(pieceCount === undefined ? {} : { pieces: pieceCount }),
      isPrivate: shape.isPrivate === true,
      hosts: version.peers.size,
      activeHosts: activePeers,
      ...totals,
      ...(seed === undefined ? {} : { seed: seedRow(seed) }),
    };
  }

  #peerRow(version: SwarmVersion, peer: string): PeerRow | undefined {
    const entry = version.peers.get(peer);
    if (entry === undefined) return undefined;
    const host = this.#parts.table.hosts.get(peer);
    const { isComplete, isActive, children, failures, fromPeers, fromSeed, fromOrigin } = entry;
    return {
      peer,
      ...namesOf(host),
      pieces: entry.pieces.count,
      isComplete,
      isActive,
      parents: [...entry.parents],
      children,
      failures,
      accusers: [...(host?.accusers.keys() ?? [])],
      fromPeers,
      fromSeed,
      fromOrigin,
    };
  }

  #hostRow(host: HostEntry): HostRow {
    const { peer, role, location, addresses, isConnected, isReachable } = host;
    return {
      peer,
      role,
      ...namesOf(host),
      ...(location === undefined ? {} : { location }),
      addresses,
      isConnected,
      isReachable,
      isQuarantined: host.quarantinedUntilMs > this.#parts.clock.monotonic(),
      accusers: [...host.accusers.keys()],
      lastSeen: new Date(host.lastSeenMs).toISOString(),
    };
  }
}

function keyOf(version: SwarmVersion): string {
  return `${version.task}/${version.shape.version}`;
}

function namesOf(host: HostEntry | undefined): { hostname?: string; idc?: string } {
  const { hostname, idc } = host ?? {};
  return {
    ...(hostname === undefined ? {} : { hostname }),
    ...(idc === undefined ? {} : { idc }),
  };
}

function seedRow({ state, stored, originBytes, spec, failure }: SeedFacts): SeedRow {
  return {
    state,
    pieces: stored.pieces.count,
    originBytes,
    url: withoutSecrets(spec.url),
    ...(failure === undefined ? {} : { failure: failure.toObject() }),
  };
}
