import { Counter, Gauge, Registry } from 'prom-client';
import type { Metric } from 'prom-client';
import { programVersion } from '../core/base/version.ts';
import { limitNames } from '../core/swarm/host-limits.ts';
import type { RateLimits } from '../core/swarm/host-limits.ts';
import type { CompressionStats } from '../core/compression/compression-stats.ts';
import type { TransferStats } from '../core/swarm/transfer-messages.ts';
import type { AdaptiveReport } from './adaptive/adaptive-io.ts';
import type { DownloadTally } from './download-tally.ts';
import type { ProxyOutcome } from './proxy/forward-counts.ts';
import type { AnswerCount } from './proxy/registry-counts.ts';
import type { LoopLag } from './loop-lag.ts';

/** What is true of the daemon at the moment of a scrape. */
export interface MetricsSnapshot {
  readonly transfer: TransferStats;
  readonly tally: DownloadTally;
  readonly registry: readonly AnswerCount[];
  readonly forward: ReadonlyMap<ProxyOutcome, number>;
  readonly activeDownloads: number;
  readonly activeTasks: number;
  readonly storeBytes: number;
  readonly storeTasks: number;
  readonly quotaBytes: number | undefined;
  readonly isSupernodeConnected: boolean;
  /** In force, bytes per second. */
  readonly limits: RateLimits;
  /** What they made wait, bytes. */
  readonly held: RateLimits;
  readonly adaptive: AdaptiveReport;
}

/** Everything dfdaemon measures of itself, without the prefix; docs/metrics.md is made of this. */
export const dfdaemonMetrics = {
  build_info: {
    kind: 'gauge',
    help: 'Always 1; the labels say what runs',
    labels: ['version', 'node'],
  },
  supernode_connected: { kind: 'gauge', help: '1 while a supernode is connected' },
  link_received_bytes_total: { kind: 'counter', help: 'Payload received over piece links' },
  link_sent_bytes_total: { kind: 'counter', help: 'Payload sent over piece links' },
  link_sent_saved_bytes_total: {
    kind: 'counter',
    help: 'Bytes of pieces that did not have to be sent, as they went compressed',
  },
  link_received_saved_bytes_total: {
    kind: 'counter',
    help: 'Bytes of pieces that did not have to come, as they came compressed',
  },
  compression_tried_bytes_total: {
    kind: 'counter',
    help: 'Bytes of pieces that were compressed here, or tried',
  },
  compression_seconds_total: {
    kind: 'counter',
    help: 'Processor time of "compress", and of "decompress"',
    labels: ['work'],
  },
  duplicate_bytes_total: { kind: 'counter', help: 'Payload received more than once' },
  origin_received_bytes_total: { kind: 'counter', help: 'Payload received from origins' },
  links: { kind: 'gauge', help: 'Piece links that are open' },
  link_channels: { kind: 'gauge', help: 'Tasks carried by open piece links, together' },
  active_uploads: { kind: 'gauge', help: 'Pieces being sent' },
  link_queued_bytes: { kind: 'gauge', help: 'Payload waiting to be sent' },
  downloads_total: {
    kind: 'counter',
    help: 'Downloads asked for that ended, by "done" or the code of the failure',
    labels: ['result'],
  },
  download_bytes_total: {
    kind: 'counter',
    help: 'Payload of finished downloads by where it came from: peers, seed, origin or cache',
    labels: ['source'],
  },
  download_seconds_total: { kind: 'counter', help: 'Time that finished downloads took, together' },
  wrong_pieces_total: {
    kind: 'counter',
    help: 'Pieces whose digest was wrong, met by finished downloads, by who sent them',
    labels: ['source'],
  },
  proxy_requests_total: {
    kind: 'counter',
    help: 'Requests to the forward proxy that ended, by what became of them: mesh, direct, reject, tunnel, or failed',
    labels: ['outcome'],
  },
  registry_answers_total: {
    kind: 'counter',
    help: 'Answers of the registry mirror: blob, manifest or other; from the cache of this host, the mesh, the registry (direct), or failed',
    labels: ['kind', 'source'],
  },
  registry_sent_bytes_total: {
    kind: 'counter',
    help: 'Bodies sent by the registry mirror, by where their bytes came from',
    labels: ['kind', 'source'],
  },
  limit_bytes_per_second: {
    kind: 'gauge',
    help: 'Limits in force: download, upload, origin; 0 is no limit',
    labels: ['limit'],
  },
  limited_bytes_total: {
    kind: 'counter',
    help: 'Payload that a limit made wait: more was wanted than it allows',
    labels: ['limit'],
  },
  adaptive_ceiling_bytes_per_second: {
    kind: 'gauge',
    help: 'Most that adaptive control lets pass: receive, send, disk (what goes there); 0 is no ceiling',
    labels: ['direction'],
  },
  adaptive_others_bytes_per_second: {
    kind: 'gauge',
    help: 'What other programs of this machine move, by direction',
    labels: ['direction'],
  },
  adaptive_decision_info: {
    kind: 'gauge',
    help: 'Always 1; the label says why the ceiling of this direction is what it is',
    labels: ['direction', 'cause'],
  },
  active_downloads: { kind: 'gauge', help: 'Downloads asked for that have not ended' },
  active_tasks: { kind: 'gauge', help: 'Versions of tasks being fetched, whoever asked' },
  store_bytes: { kind: 'gauge', help: 'Content kept' },
  store_tasks: { kind: 'gauge', help: 'Versions of tasks kept, in part or whole' },
  store_quota_bytes: { kind: 'gauge', help: 'Most content kept; absent: as the disk allows' },
  event_loop_lag_seconds: {
    kind: 'gauge',
    help: 'Longest that the main thread was busy at a stretch in the last 15 s',
  },
} as const satisfies Record<string, MetricSpec>;

/** One metric, as declared. */
export interface MetricSpec {
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  readonly labels?: readonly string[];
}

/** What all names begin with. */
export const metricPrefix = 'odonata_dfdaemon_';

type MetricName = keyof typeof dfdaemonMetrics;
type Labels = Readonly<Record<string, string>>;

/** The registry of this program: filled at each scrape from what the parts counted themselves. */
export class DaemonMetrics {
  readonly #registry = new Registry();
  readonly #gauges = new Map<string, Gauge>();
  readonly #counters = new Map<string, Counter>();
  readonly #lag: LoopLag;

  constructor(lag: LoopLag) {
    this.#lag = lag;
    const registers = [this.#registry];
    for (const [name, spec] of Object.entries<MetricSpec>(dfdaemonMetrics)) {
      const { help, labels = [] } = spec;
      const config = { name: metricPrefix + name, help, labelNames: [...labels], registers };
      if (spec.kind === 'gauge') this.#gauges.set(name, new Gauge(config));
      else this.#counters.set(name, new Counter(config));
    }
    for (const metric of processMetrics()) this.#registry.registerMetric(metric);
  }

  /** The exposition text. */
  async render(snapshot: MetricsSnapshot): Promise<{ contentType: string; text: string }> {
    this.#registry.resetMetrics();
    this.#setTransfer(snapshot.transfer);
    this.#setDownloads(snapshot);
    for (const [outcome, count] of snapshot.forward) {
      this.#set('proxy_requests_total', count, { outcome });
    }
    for (const { kind, source, answers, bytes } of snapshot.registry) {
      this.#set('registry_answers_total', answers, { kind, source });
      this.#set('registry_sent_bytes_total', bytes, { kind, source });
    }
    for (const limit of limitNames) {
      this.#set('limit_bytes_per_second', snapshot.limits[limit], { limit });
      this.#set('limited_bytes_total', snapshot.held[limit], { limit });
    }
    this.#setAdaptive(snapshot.adaptive);
    this.#set('build_info', 1, { version: programVersion(), node: process.version });
    this.#set('supernode_connected', snapshot.isSupernodeConnected ? 1 : 0);
    this.#set('store_bytes', snapshot.storeBytes);
    this.#set('store_tasks', snapshot.storeTasks);
    if (snapshot.quotaBytes === undefined) this.#gauges.get('store_quota_bytes')?.remove();
    else this.#set('store_quota_bytes', snapshot.quotaBytes);
    this.#set('event_loop_lag_seconds', this.#lag.maxSeconds);
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  #setAdaptive({ receive, send, disk }: AdaptiveReport): void {
    const decisions = {
      ...(receive === undefined ? {} : { receive }),
      ...(send === undefined ? {} : { send }),
      ...(disk === undefined ? {} : { disk: { ...disk, ceiling: disk.writing } }),
    };
    for (const [direction, { ceiling, others, cause }] of Object.entries(decisions)) {
      this.#set('adaptive_ceiling_bytes_per_second', ceiling, { direction });
      this.#set('adaptive_others_bytes_per_second', others, { direction });
      this.#set('adaptive_decision_info', 1, { direction, cause });
    }
  }

  #setTransfer(stats: TransferStats): void {
    this.#set('link_received_bytes_total', stats.bytesIn);
    this.#set('link_sent_bytes_total', stats.bytesOut);
    this.#set('duplicate_bytes_total', stats.duplicateBytes);
    this.#set('origin_received_bytes_total', stats.originBytes);
    this.#set('links', stats.links);
    this.#set('link_channels', stats.channels);
    this.#set('active_uploads', stats.activeUploads);
    this.#set('link_queued_bytes', stats.queuedBytes);
    this.#setCompression(stats.compression);
  }

  #setCompression(stats: CompressionStats): void {
    this.#set('link_sent_saved_bytes_total', stats.savedOutBytes);
    this.#set('link_received_saved_bytes_total', stats.savedInBytes);
    this.#set('compression_tried_bytes_total', stats.triedBytes);
    this.#set('compression_seconds_total', stats.compressMs / 1000, { work: 'compress' });
    this.#set('compression_seconds_total', stats.decompressMs / 1000, { work: 'decompress' });
  }

  #setDownloads({ tally, activeDownloads, activeTasks }: MetricsSnapshot): void {
    for (const [result, count] of tally.results) this.#set('downloads_total', count, { result });
    const { fromPeers, fromSeed, fromOrigin, fromCache } = tally.bytes;
    this.#set('download_bytes_total', fromPeers, { source: 'peers' });
    this.#set('download_bytes_total', fromSeed, { source: 'seed' });
    this.#set('download_bytes_total', fromOrigin, { source: 'origin' });
    this.#set('download_bytes_total', fromCache, { source: 'cache' });
    this.#set('download_seconds_total', tally.seconds);
    for (const [source, count] of Object.entries(tally.wrongPieces)) {
      this.#set('wrong_pieces_total', count, { source });
    }
    this.#set('active_downloads', activeDownloads);
    this.#set('active_tasks', activeTasks);
  }

  #set(name: MetricName, value: number, labels: Labels = {}): void {
    this.#gauges.get(name)?.set({ ...labels }, value);
    // Counted elsewhere since the start: the registry was reset just before.
    this.#counters.get(name)?.inc({ ...labels }, value);
  }
}

/** The names every exporter uses; prom-client's own set keeps a 10 ms timer and a GC observer for more. */
function processMetrics(): Metric[] {
  const registers: Registry[] = [];
  const cpu = new Counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time used, user and system',
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  const memory = new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Memory in use, shared file pages included',
    registers,
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  const start = new Gauge({
    name: 'process_start_time_seconds',
    help: 'When the process began, seconds since the epoch',
    registers,
    collect() {
      this.set(performance.timeOrigin / 1000);
    },
  });
  return [cpu, memory, start];
}
