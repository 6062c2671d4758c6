import { readFile, readdir, stat } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import test from 'ava';
import { errorCodes } from '../../core/base/error-codes.ts';
import { silentLog } from '../../core/base/log.ts';
import { SystemClock } from '../../core/base/clock.ts';
import { frameTypes } from '../../core/net/link/frame.ts';
import { FromHost, FromSupernode } from '../../core/wire/messages.ts';
import { hostValues } from '../../ops/control/host-values.ts';
import { DownloadTally } from '../../dfdaemon/download-tally.ts';
import { dfdaemonMetrics, metricPrefix as dfdaemonPrefix } from '../../dfdaemon/index.ts';
import { LoopLag } from '../../dfdaemon/loop-lag.ts';
import { noCompression } from '../../core/compression/compression-stats.ts';
import { DaemonMetrics } from '../../dfdaemon/metrics.ts';
import {
  SupernodeMetrics,
  metricPrefix as supernodePrefix,
  supernodeMetrics,
} from '../../supernode/metrics.ts';
import type { MetricSpec } from '../../supernode/metrics.ts';
import { checkout, generatedDocs, optionTables } from './generated-docs.ts';

const SKIPPED = new Set(['node_modules', 'dist', 'coverage', '.git']);

async function filesIn(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (SKIPPED.has(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) found.push(`${relative(checkout, path)}/`, ...(await filesIn(path)));
    else found.push(relative(checkout, path));
  }
  return found;
}

async function read(path: string): Promise<string> {
  return readFile(join(checkout, path), 'utf8');
}

async function markdownFiles(): Promise<string[]> {
  return (await filesIn(checkout)).filter((path) => path.endsWith('.md'));
}

/** The anchors of a document, as GitHub makes them of its headings. */
function anchorsOf(text: string): Set<string> {
  const headings = text.matchAll(/^#{1,6} (.*)$/gm);
  return new Set(
    [...headings].map(([, title = '']) =>
      title
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

function withoutFences(text: string): string {
  return text.replaceAll(/^```.*?^```$/gms, '');
}

for (const [path, text] of generatedDocs()) {
  test(`${path} is what the code says`, async (t) => {
    const isSame = (await read(path)) === text;
    t.true(isSame, `${path} differs from the code: run npm run docs`);
  });
}

test('docs/hosts.md lists the values that hosts can be asked for, with their kinds', async (t) => {
  const [, section = ''] = (await read('docs/hosts.md')).split('### Values');
  const told = [...section.matchAll(/^\| `(\w+)` +\| (\w+) /gm)].map(([, name, kind]) => [
    name,
    kind,
  ]);
  t.deepEqual(
    told,
    Object.entries(hostValues).map(([name, { kind }]) => [name, kind]),
  );
});

test('every relative link in the documents leads somewhere', async (t) => {
  const broken: string[] = [];
  for (const path of await markdownFiles()) {
    const text = withoutFences(await read(path));
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [file = '', anchor] = target.split('#', 2);
      const absolute = file === '' ? join(checkout, path) : resolve(checkout, dirname(path), file);
      const found = await stat(absolute).catch(() => undefined);
      if (found === undefined) broken.push(`${path}: ${target}`);
      else if (anchor !== undefined && found.isFile()) {
        const anchors = anchorsOf(await readFile(absolute, 'utf8'));
        if (!anchors.has(anchor)) broken.push(`${path}: ${target}`);
      }
    }
  }
  t.deepEqual(broken, []);
});

test('docs/architecture.md names files and folders that exist, every other document files', async (t) => {
  const all = await filesIn(checkout);
  const isThere = (name: string): boolean =>
    all.some((file) => file === name || file.endsWith(`/${name}`));
  const missing: string[] = [];
  for (const path of await markdownFiles()) {
    const hasFolders = path === 'docs/architecture.md';
    for (const [, name = ''] of (await read(path)).matchAll(/`([\w./-]+(?:\.ts|\/))`/g)) {
      if ((name.endsWith('.ts') || hasFolders) && !isThere(name)) missing.push(`${path}: ${name}`);
    }
  }
  t.deepEqual(missing, []);
});

test('documents speak only of error codes that there are', async (t) => {
  const unknown: string[] = [];
  for (const path of await markdownFiles()) {
    for (const [code] of (await read(path)).matchAll(/\bERR_[A-Z]+(?:_[A-Z]+)*\b(?!_)/g)) {
      if (!Object.hasOwn(errorCodes, code)) unknown.push(`${path}: ${code}`);
    }
  }
  t.deepEqual(unknown, []);
});

test('documents that show commands speak only of flags that there are', async (t) => {
  const known = new Set(['help', 'version', 'hosts', 'user', 'global']);
  for (const table of Object.values(optionTables)) {
    for (const name of Object.keys(table)) known.add(name).add(`no-${name}`);
  }
  const unknown: string[] = [];
  const shown = ['README.md', 'docs/operations.md', 'docs/origins.md', 'docs/scenarios.md'];
  for (const path of shown) {
    for (const [, name = ''] of (await read(path)).matchAll(/(?<![\w-])--([a-z][a-z0-9-]+)/g)) {
      if (!known.has(name)) unknown.push(`${path}: --${name}`);
    }
  }
  t.deepEqual(unknown, []);
});

test('docs/protocol.md tells of every message and every frame, and of no other frame', async (t) => {
  const text = await read('docs/protocol.md');
  const messages = [...FromHost.anyOf, ...FromSupernode.anyOf].map(
    ({ properties }) => properties.type.const,
  );
  t.deepEqual(
    messages.filter((type) => !new RegExp(`^\\| \`${type}\` +\\|`, 'm').test(text)),
    [],
  );
  const told = [...text.matchAll(/^\| (\d+)\s+\| ([A-Z_]+)\s+\|/gm)];
  const frames = Object.entries(frameTypes).map(([name, type]) => [
    String(type),
    name.replaceAll(/[A-Z]/g, '_$&').toUpperCase(),
  ]);
  t.deepEqual(
    told.map(([, type, name]) => [type, name]),
    frames,
  );
});

interface Metric {
  readonly name: string;
  readonly type: string;
  readonly labels: string;
}

/** What a program exposes, by its own exposition text; labels as declared. */
function exposed(
  text: string,
  declared: Readonly<Record<string, MetricSpec>>,
  prefix: string,
): Metric[] {
  return [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name = '', type = '']) => {
    const labels = declared[name.slice(prefix.length)]?.labels ?? [];
    return { name, type, labels: labels.join(', ') };
  });
}

async function supernodeExposition(): Promise<string> {
  using metrics = new SupernodeMetrics();
  const none = new Map<string, number>();
  const { text } = await metrics.render({
    hosts: none,
    tasks: 0,
    taskVersions: 0,
    heldPieces: 0,
    connections: 0,
    originRequests: 0,
    originBytes: 0,
    uploadBytes: 0,
    compression: noCompression,
    links: 0,
    registrations: none,
    joins: none,
    messages: none,
    piecesAnnounced: 0,
    warmUps: none,
    warmUpsEnded: none,
    calls: 0,
    callResults: none,
    queriedHosts: none,
    blobs: 0,
    blobBytes: 0,
    releases: none,
    releasesEnded: none,
    owedHosts: none,
    approvals: none,
    approvalEvents: none,
    budgets: { download: 0, origin: 0 },
    outstanding: { download: 0, origin: 0 },
    revokedHosts: 0,
    certificateExpires: 0,
  });
  return text;
}

async function dfdaemonExposition(): Promise<string> {
  using lag = new LoopLag(new SystemClock());
  const { text } = await new DaemonMetrics(lag).render({
    transfer: {
      bytesIn: 0,
      bytesOut: 0,
      receivedBytes: 0,
      duplicateBytes: 0,
      links: 0,
      channels: 0,
      activeUploads: 0,
      compression: noCompression,
      queuedBytes: 0,
      originBytes: 0,
    },
    registry: [],
    forward: new Map(),
    adaptive: { isOn: false, blind: [] },
    tally: new DownloadTally(silentLog),
    activeDownloads: 0,
    activeTasks: 0,
    storeBytes: 0,
    storeTasks: 0,
    quotaBytes: undefined,
    isSupernodeConnected: false,
    limits: { download: 0, upload: 0, origin: 0 },
    held: { download: 0, upload: 0, origin: 0 },
  });
  return text;
}

function byName(left: Metric, right: Metric): number {
  return left.name.localeCompare(right.name);
}

test('docs/metrics.md lists exactly the metrics that the programs register', async (t) => {
  const registered = [
    ...exposed(await supernodeExposition(), supernodeMetrics, supernodePrefix),
    ...exposed(await dfdaemonExposition(), dfdaemonMetrics, dfdaemonPrefix),
  ];
  const rows = [...(await read('docs/metrics.md')).matchAll(/^\| `(\w+)`([^\n]*)\|$/gm)];
  const told = rows.map(([, name = '', rest = '']): Metric => {
    const [type = '', labels = ''] = rest
      .split('|')
      .slice(1)
      .map((cell) => cell.trim());
    return { name, type, labels };
  });
  const once = new Map(registered.map((metric) => [metric.name, metric]));
  t.deepEqual(told.toSorted(byName), [...once.values()].toSorted(byName));
});
