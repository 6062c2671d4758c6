import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Gauge, Registry } from 'prom-client';
import type { CompressionStats } from '../core/compression/compression-stats.ts';
import { programVersion } from '../core/base/version.ts';
import { ratesByName } from './traffic/cell-budgets.ts';
import type { CellBudgets } from './traffic/cell-budgets.ts';

/** What is true of the supernode at the moment of a scrape; counts are since its start. */
export interface MetricsSnapshot {
  /** Connected hosts by role. */
  readonly hosts: ReadonlyMap<string, number>;
  readonly tasks: number;
  readonly taskVersions: number;
  /** Pieces of all versions on all connected hosts. */
  readonly heldPieces: number;
  readonly connections: number;
  readonly originRequests: number;
  readonly originBytes: number;
  readonly uploadBytes: number;
  readonly compression: CompressionStats;
  readonly links: number;
  /** By `ok` or error code. */
  readonly registrations: ReadonlyMap<string, number>;
  /** By `ok` or error code. */
  readonly joins: ReadonlyMap<string, number>;
  /** By type. */
  readonly messages: ReadonlyMap<string, number>;
  readonly piecesAnnounced: number;
  /** Those that have not ended, by state. */
  readonly warmUps: ReadonlyMap<string, number>;
  /** Those that ended, by state. */
  readonly warmUpsEnded: ReadonlyMap<string, number>;
  readonly calls: number;
  /** Hosts that were asked how they are, by what they made of it. */
  readonly queriedHosts: ReadonlyMap<string, number>;
  /** Of what was uploaded for hosts. */
  readonly blobs: number;
  readonly blobBytes: number;
  /** Those that have not ended, by phase. */
  readonly releases: ReadonlyMap<string, number>;
  /** By the phase in which they ended. */
  readonly releasesEnded: ReadonlyMap<string, number>;
  /** By stage. */
  readonly owedHosts: ReadonlyMap<string, number>;
  /** By state. */
  readonly approvals: ReadonlyMap<string, number>;
  /** What became of them, by event. */
  readonly approvalEvents: ReadonlyMap<string, number>;
  readonly callResults: ReadonlyMap<string, number>;
  /** Of the cell, bytes per second, 0 for no limit; and what of them hosts have. */
  readonly budgets: CellBudgets;
  readonly outstanding: CellBudgets;
  readonly revokedHosts: number;
  /** Milliseconds since the epoch. */
  readonly certificateExpires: number;
}

/** One metric, as declared. */
export interface MetricSpec {
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  readonly labels?: readonly string[];
}

/** Everything the supernode measures of itself, without the prefix; docs/metrics.md is made of this. */
export const supernodeMetrics = {
  build_info: {
    kind: 'gauge',
    help: 'Always 1; the labels say what runs',
    labels: ['version', 'node'],
  },
  hosts: { kind: 'gauge', help: 'Hosts that are connected, by role', labels: ['role'] },
  tasks: { kind: 'gauge', help: 'Tasks that connected hosts take part in' },
  task_versions: { kind: 'gauge', help: 'Versions of tasks that connected hosts take part in' },
  held_pieces: { kind: 'gauge', help: 'Pieces of all versions on all connected hosts, together' },
  mesh_connections: { kind: 'gauge', help: 'Mesh connections, those of strangers included' },
  pieces_announced_total: { kind: 'counter', help: 'Pieces that hosts reported as they got them' },
  origin_requests_total: { kind: 'counter', help: 'Requests made to origins' },
  origin_received_bytes_total: { kind: 'counter', help: 'Payload received from origins' },
  link_sent_bytes_total: { kind: 'counter', help: 'Payload sent over piece links' },
  link_sent_saved_bytes_total: {
    kind: 'counter',
    help: 'Bytes of pieces that did not have to be sent, as they went compressed',
  },
  compression_tried_bytes_total: {
    kind: 'counter',
    help: 'Bytes of pieces that were compressed here, or tried',
  },
  compression_seconds_total: {
    kind: 'counter',
    help: 'Processor time that compressing took',
  },
  links: { kind: 'gauge', help: 'Piece links that are open' },
  registrations_total: { kind: 'counter', help: 'Registrations of tasks that were answered' },
  rejections_total: {
    kind: 'counter',
    help: 'Registrations of tasks that were refused or failed, by code',
    labels: ['code'],
  },
  joins_total: {
    kind: 'counter',
    help: 'Attempts to join the cell that ended, by "ok" or the code of the refusal',
    labels: ['result'],
  },
  control_messages_total: { kind: 'counter', help: 'Messages of hosts, by type', labels: ['type'] },
  warm_ups: { kind: 'gauge', help: 'Warm-ups that have not ended, by state', labels: ['state'] },
  warm_ups_ended_total: {
    kind: 'counter',
    help: 'Warm-ups that ended, by state',
    labels: ['state'],
  },
  cell_limit_bytes_per_second: {
    kind: 'gauge',
    help: 'Budgets of the cell: download, origin, origin:HOST, between:FROM|TO; 0 is no limit',
    labels: ['limit'],
  },
  cell_share_bytes_per_second: {
    kind: 'gauge',
    help: 'What of a budget hosts may use at this moment, all shares together',
    labels: ['limit'],
  },
  calls: { kind: 'gauge', help: 'Calls that have not ended on all their hosts' },
  call_results_total: {
    kind: 'counter',
    help: 'Ends of calls on hosts, by outcome',
    labels: ['outcome'],
  },
  queried_hosts_total: {
    kind: 'counter',
    help: 'Hosts that queries asked how they are, by what became of it',
    labels: ['outcome'],
  },
  releases: { kind: 'gauge', help: 'Releases that have not ended, by state', labels: ['state'] },
  releases_ended_total: {
    kind: 'counter',
    help: 'Releases that ended, by state',
    labels: ['state'],
  },
  owed_hosts: {
    kind: 'gauge',
    help: 'Hosts that had not come to what a release decided when it ended, by state',
    labels: ['state'],
  },
  approvals: { kind: 'gauge', help: 'Approvals that were asked for, by state', labels: ['state'] },
  approval_events_total: {
    kind: 'counter',
    help: 'What became of approvals, by event',
    labels: ['event'],
  },
  blobs: { kind: 'gauge', help: 'Files that were uploaded for hosts' },
  blob_bytes: { kind: 'gauge', help: 'Bytes of what was uploaded for hosts' },
  revoked_hosts: { kind: 'gauge', help: 'Hosts that the cell map puts out of the cell' },
  certificate_expiry_timestamp_seconds: {
    kind: 'gauge',
    help: 'When the certificate of this supernode runs out, seconds since the epoch',
  },
  event_loop_lag_seconds: {
    kind: 'gauge',
    help: 'Longest that the main thread was busy at a stretch since the last scrape',
  },
} as const satisfies Record<string, MetricSpec>;

/** The answer to a scrape. */
export interface Exposition {
  readonly contentType: string;
  readonly text: string;
}

/** What all names begin with. */
export const metricPrefix = 'odonata_supernode_';

const LAG_PROBE_MS = 20;

type MetricName = keyof typeof supernodeMetrics;
type Labels = Readonly<Record<string, string>>;

/** The registry of this program: filled at each scrape from what the parts counted themselves. */
export class SupernodeMetrics implements Disposable {
  readonly #registry = new Registry();
  readonly #gauges = new Map<string, Gauge>();
  readonly #counters = new Map<string, Counter>();
  #last: Promise<unknown> = Promise.resolve();
  readonly #lag = monitorEventLoopDelay({ resolution: LAG_PROBE_MS });

  constructor() {
    const registers = [this.#registry];
    for (const [name, spec] of Object.entries<MetricSpec>(supernodeMetrics)) {
      const { help, labels = [] } = spec;
      const config = { name: metricPrefix + name, help, labelNames: [...labels], registers };
      if (spec.kind === 'gauge') this.#gauges.set(name, new Gauge(config));
      else this.#counters.set(name, new Counter(config));
    }
    addProcessMetrics(registers);
    this.#lag.enable();
  }

  /** The exposition text. */
  async render(snapshot: MetricsSnapshot): Promise<Exposition> {
    // One after the other: a second scraper must not reset what the first is reading.
    const turn = this.#last.then(async () => this.#render(snapshot));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  [Symbol.dispose](): void {
    this.#lag.disable();
  }

  async #render(snapshot: MetricsSnapshot): Promise<Exposition> {
    this.#registry.resetMetrics();
    this.#set('build_info', 1, { version: programVersion(), node: process.version });
    this.#setSwarm(snapshot);
    this.#setCell(snapshot);
    this.#setCounts(snapshot);
    this.#set('event_loop_lag_seconds', Math.max(0, this.#lag.max / 1e9 - LAG_PROBE_MS / 1000));
    this.#lag.reset();
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  #setSwarm(snapshot: MetricsSnapshot): void {
    for (const role of ['host', 'seed']) {
      this.#set('hosts', snapshot.hosts.get(role) ?? 0, { role });
    }
    this.#set('tasks', snapshot.tasks);
    this.#set('task_versions', snapshot.taskVersions);
    this.#set('held_pieces', snapshot.heldPieces);
    this.#set('mesh_connections', snapshot.connections);
    this.#set('links', snapshot.links);
  }

  #setCell(snapshot: MetricsSnapshot): void {
    const { revokedHosts, certificateExpires, joins, budgets, outstanding } = snapshot;
    for (const [limit, rate] of ratesByName(budgets)) {
      this.#set('cell_limit_bytes_per_second', rate, { limit });
    }
    for (const [limit, rate] of ratesByName(outstanding)) {
      this.#set('cell_share_bytes_per_second', rate, { limit });
    }
    this.#set('revoked_hosts', revokedHosts);
    this.#set('certificate_expiry_timestamp_seconds', certificateExpires / 1000);
    for (const [result, count] of joins) this.#set('joins_total', count, { result });
  }

  #setReleases(snapshot: MetricsSnapshot): void {
    for (const state of ['planned', 'running', 'paused']) {
      this.#set('releases', snapshot.releases.get(state) ?? 0, { state });
    }
    for (const [state, count] of snapshot.releasesEnded) {
      this.#set('releases_ended_total', count, { state });
    }
    for (const state of ['waiting', 'installing', 'switching', 'left', 'mended']) {
      this.#set('owed_hosts', snapshot.owedHosts.get(state) ?? 0, { state });
    }
    for (const state of ['waiting', 'approved', 'denied']) {
      this.#set('approvals', snapshot.approvals.get(state) ?? 0, { state });
    }
    for (const [event, count] of snapshot.approvalEvents) {
      this.#set('approval_events_total', count, { event });
    }
  }

  #setCounts(snapshot: MetricsSnapshot): void {
    this.#set('origin_requests_total', snapshot.originRequests);
    this.#set('origin_received_bytes_total', snapshot.originBytes);
    this.#set('link_sent_bytes_total', snapshot.uploadBytes);
    this.#set('link_sent_saved_bytes_total', snapshot.compression.savedOutBytes);
    this.#set('compression_tried_bytes_total', snapshot.compression.triedBytes);
    this.#set('compression_seconds_total', snapshot.compression.compressMs / 1000);
    this.#set('pieces_announced_total', snapshot.piecesAnnounced);
    this.#set('registrations_total', snapshot.registrations.get('ok') ?? 0);
    for (const [code, count] of snapshot.registrations) {
      if (code !== 'ok') this.#set('rejections_total', count, { code });
    }
    for (const state of ['waiting', 'resolving', 'running']) {
      this.#set('warm_ups', snapshot.warmUps.get(state) ?? 0, { state });
    }
    this.#set('calls', snapshot.calls);
    this.#set('blobs', snapshot.blobs);
    this.#set('blob_bytes', snapshot.blobBytes);
    this.#setReleases(snapshot);
    for (const [outcome, count] of snapshot.callResults) {
      this.#set('call_results_total', count, { outcome });
    }
    for (const [outcome, count] of snapshot.queriedHosts) {
      this.#set('queried_hosts_total', count, { outcome });
    }
    for (const [state, count] of snapshot.warmUpsEnded) {
      this.#set('warm_ups_ended_total', count, { state });
    }
    for (const [type, count] of snapshot.messages) {
      this.#set('control_messages_total', count, { type });
    }
  }

  #set(name: MetricName, value: number, labels: Labels = {}): void {
    this.#gauges.get(name)?.set({ ...labels }, value);
    // Counted elsewhere since the start: the registry was reset just before.
    this.#counters.get(name)?.inc({ ...labels }, value);
  }
}

/** The names every exporter uses. */
function addProcessMetrics(registers: Registry[]): void {
  const cpu: Counter = new Counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time used, user and system',
    registers,
    collect: () => {
      const { user, system } = process.cpuUsage();
      cpu.inc((user + system) / 1e6);
    },
  });
  const memory: Gauge = new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Memory in use, shared file pages included',
    registers,
    collect: () => memory.set(process.memoryUsage.rss()),
  });
  const start: Gauge = new Gauge({
    name: 'process_start_time_seconds',
    help: 'When the process began, seconds since the epoch',
    registers,
    collect: () => start.set(performance.timeOrigin / 1000),
  });
}
