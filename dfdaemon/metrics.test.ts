import test from 'ava';
import { ManualClock } from '../core/base/clock.ts';
import { silentLog } from '../core/base/log.ts';
import { DownloadTally } from './download-tally.ts';
import { noCompression } from '../core/compression/compression-stats.ts';
import { LoopLag } from './loop-lag.ts';
import { DaemonMetrics, dfdaemonMetrics, metricPrefix } from './metrics.ts';
import type { MetricsSnapshot } from './metrics.ts';

const snapshot: MetricsSnapshot = {
  transfer: {
    bytesIn: 1,
    bytesOut: 2,
    receivedBytes: 0,
    duplicateBytes: 3,
    links: 4,
    channels: 5,
    activeUploads: 6,
    compression: { ...noCompression, savedOutBytes: 23, compressMs: 500 },
    queuedBytes: 7,
    originBytes: 8,
  },
  tally: new DownloadTally(silentLog),
  registry: [],
  forward: new Map(),
  activeDownloads: 9,
  activeTasks: 10,
  storeBytes: 11,
  storeTasks: 12,
  quotaBytes: 13,
  isSupernodeConnected: true,
  limits: { download: 16, upload: 17, origin: 18 },
  held: { download: 19, upload: 15, origin: 14 },
  adaptive: {
    isOn: true,
    receive: { ceiling: 20, cause: 'yielding', reason: 'because', others: 21, capacity: 22 },
    blind: [],
  },
};

function metrics(): DaemonMetrics {
  return new DaemonMetrics(new LoopLag(new ManualClock()));
}

test('DaemonMetrics.render() has every declared metric, each with its help', async (t) => {
  const { contentType, text } = await metrics().render(snapshot);
  t.regex(contentType, /^text\/plain/);
  for (const [name, { kind, help }] of Object.entries(dfdaemonMetrics)) {
    t.true(text.includes(`# HELP ${metricPrefix}${name} ${help}\n`), name);
    t.true(text.includes(`# TYPE ${metricPrefix}${name} ${kind}\n`), name);
    t.regex(name, /(_bytes|_seconds|_total|_info|[a-z])$/);
    if (kind === 'counter') t.true(name.endsWith('_total'), name);
  }
  t.regex(text, /^odonata_dfdaemon_link_received_bytes_total 1$/m);
  t.regex(text, /^odonata_dfdaemon_link_sent_bytes_total 2$/m);
  t.regex(text, /^odonata_dfdaemon_supernode_connected 1$/m);
  t.regex(text, /^odonata_dfdaemon_store_quota_bytes 13$/m);
  t.regex(text, /^odonata_dfdaemon_limit_bytes_per_second\{limit="origin"\} 18$/m);
  t.regex(text, /^odonata_dfdaemon_limited_bytes_total\{limit="download"\} 19$/m);
  t.regex(text, /^odonata_dfdaemon_adaptive_ceiling_bytes_per_second\{direction="receive"\} 20$/m);
  t.regex(
    text,
    /^odonata_dfdaemon_adaptive_decision_info\{direction="receive",cause="yielding"\} 1$/m,
  );
  t.regex(text, /^process_resident_memory_bytes \d+$/m);
  t.regex(text, /^process_cpu_seconds_total [\d.]+$/m);
});

test('DaemonMetrics.render() says what is true now: counters are not added up from scrape to scrape', async (t) => {
  const all = metrics();
  const tally = new DownloadTally(silentLog);
  tally.results.set('done', 2);
  tally.results.set('ERR_URL', 1);
  const registry = [{ kind: 'blob', source: 'mesh', answers: 3, bytes: 9 }] as const;
  const forward = new Map([['mesh', 4]] as const);
  await all.render({ ...snapshot, tally, registry, forward });
  const { text } = await all.render({
    ...snapshot,
    tally,
    registry,
    forward,
    quotaBytes: undefined,
  });
  t.regex(text, /^odonata_dfdaemon_proxy_requests_total\{outcome="mesh"\} 4$/m);
  t.regex(text, /^odonata_dfdaemon_registry_answers_total\{kind="blob",source="mesh"\} 3$/m);
  t.regex(text, /^odonata_dfdaemon_registry_sent_bytes_total\{kind="blob",source="mesh"\} 9$/m);
  t.regex(text, /^odonata_dfdaemon_downloads_total\{result="done"\} 2$/m);
  t.regex(text, /^odonata_dfdaemon_downloads_total\{result="ERR_URL"\} 1$/m);
  t.regex(text, /^odonata_dfdaemon_origin_received_bytes_total 8$/m);
  t.notRegex(text, /^odonata_dfdaemon_store_quota_bytes/m);
  t.notRegex(text, /NaN/);
});

test('LoopLag tells how late the loop was, and forgets it after a while', (t) => {
  const clock = new ManualClock();
  using lag = new LoopLag(clock);
  clock.advance(500);
  t.is(lag.maxSeconds, 0);
  // The machine's timers fire late when the loop was busy; this clock's do when time is taken away from it.
  const late = lateClock(700);
  using busy = new LoopLag(late.clock);
  late.fire();
  t.is(busy.maxSeconds, 0.2);
  for (let probe = 0; probe < 30; probe += 1) late.fire(500);
  t.is(busy.maxSeconds, 0);
});

function lateClock(firstMs: number): { clock: ManualClock; fire: (ms?: number) => void } {
  const tasks: (() => void)[] = [];
  let now = 0;
  class LateClock extends ManualClock {
    override monotonic(): number {
      return now;
    }
    override every(_ms: number, task: () => void): { cancel(): void } {
      tasks.push(task);
      return { cancel: () => undefined };
    }
  }
  return {
    clock: new LateClock(),
    fire: (ms = firstMs) => {
      now += ms;
      for (const task of tasks) task();
    },
  };
}
