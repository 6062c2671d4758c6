import test from 'ava';
import { noCompression } from '../core/compression/compression-stats.ts';
import { SupernodeMetrics, metricPrefix, supernodeMetrics } from './metrics.ts';
import type { MetricsSnapshot } from './metrics.ts';

const nothing: MetricsSnapshot = {
  hosts: new Map(),
  tasks: 0,
  taskVersions: 0,
  heldPieces: 0,
  connections: 0,
  originRequests: 0,
  originBytes: 0,
  uploadBytes: 0,
  compression: noCompression,
  links: 0,
  registrations: new Map(),
  joins: new Map(),
  messages: new Map(),
  piecesAnnounced: 0,
  warmUps: new Map(),
  warmUpsEnded: new Map(),
  calls: 0,
  queriedHosts: new Map(),
  blobs: 0,
  blobBytes: 0,
  releases: new Map(),
  releasesEnded: new Map(),
  owedHosts: new Map(),
  approvals: new Map(),
  approvalEvents: new Map(),
  callResults: new Map(),
  budgets: { download: 0, origin: 0 },
  outstanding: { download: 0, origin: 0 },
  revokedHosts: 0,
  certificateExpires: 0,
};

function valueOf(text: string, series: string): number | undefined {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

test('SupernodeMetrics.render() shows the snapshot it was given, and not the one before', async (t) => {
  using metrics = new SupernodeMetrics();
  const registrations = new Map([
    ['ok', 4],
    ['ERR_ORIGIN_REFUSED', 2],
  ]);
  const first = { ...nothing, hosts: new Map([['host', 3]]), originBytes: 1000, registrations };
  const more = { messages: new Map([['report', 9]]), joins: new Map([['ok', 1]]), heldPieces: 7 };
  const warm = { warmUps: new Map([['waiting', 5]]), warmUpsEnded: new Map([['failed', 2]]) };
  const { text, contentType } = await metrics.render({ ...first, ...more, ...warm });
  t.regex(contentType, /^text\/plain/);
  const expected = {
    'hosts{role="host"}': 3,
    'hosts{role="seed"}': 0,
    origin_received_bytes_total: 1000,
    registrations_total: 4,
    'rejections_total{code="ERR_ORIGIN_REFUSED"}': 2,
    'control_messages_total{type="report"}': 9,
    'joins_total{result="ok"}': 1,
    held_pieces: 7,
    'warm_ups{state="waiting"}': 5,
    'warm_ups{state="running"}': 0,
    'warm_ups_ended_total{state="failed"}': 2,
  };
  for (const [series, value] of Object.entries(expected)) {
    t.is(valueOf(text, metricPrefix + series), value, series);
  }
  t.true((valueOf(text, 'process_resident_memory_bytes') ?? 0) > 1_000_000);
  const second = await metrics.render({ ...nothing, originBytes: 1500 });
  t.is(valueOf(second.text, `${metricPrefix}origin_received_bytes_total`), 1500);
  t.is(valueOf(second.text, `${metricPrefix}hosts{role="host"}`), 0);
});

test('SupernodeMetrics.render() names every metric of the table', async (t) => {
  using metrics = new SupernodeMetrics();
  const { text } = await metrics.render(nothing);
  for (const name of Object.keys(supernodeMetrics)) {
    t.true(text.includes(`# HELP ${metricPrefix}${name} `), name);
  }
});

test('SupernodeMetrics.render() gives two scrapers at once the same figures', async (t) => {
  using metrics = new SupernodeMetrics();
  const snapshot = { ...nothing, uploadBytes: 5 };
  const answers = await Promise.all([metrics.render(snapshot), metrics.render(snapshot)]);
  for (const { text } of answers) t.is(valueOf(text, `${metricPrefix}link_sent_bytes_total`), 5);
});

test('SupernodeMetrics.render() shows releases and approvals by state, those that there are none of too', async (t) => {
  using metrics = new SupernodeMetrics();
  const { text } = await metrics.render({
    ...nothing,
    blobs: 2,
    releases: new Map([['paused', 1]]),
    releasesEnded: new Map([['rolled-back', 3]]),
    owedHosts: new Map([['left', 4]]),
    approvals: new Map([['waiting', 5]]),
    approvalEvents: new Map([['denied', 6]]),
  });
  const series: readonly (readonly [string, number])[] = [
    ['blobs', 2],
    ['releases{state="paused"}', 1],
    ['releases{state="running"}', 0],
    ['releases_ended_total{state="rolled-back"}', 3],
    ['owed_hosts{state="left"}', 4],
    ['approvals{state="waiting"}', 5],
    ['approvals{state="denied"}', 0],
    ['approval_events_total{event="denied"}', 6],
  ];
  for (const [name, value] of series) t.is(valueOf(text, `odonata_supernode_${name}`), value, name);
});
