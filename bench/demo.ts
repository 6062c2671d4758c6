/**
 * `npm run demo`: an origin, a supernode and some hosts as processes on this machine; one file, downloaded on all
 * hosts at once; and a table of who sent what. Stops everything and removes its files however it ends.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { SystemClock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/error.ts';
import { humanBytes } from '../core/base/units.ts';
import { Cluster } from './cluster/cluster.ts';
import type { ClusterHost } from './cluster/cluster-host.ts';
import type { DfgetResult, DoneEvent } from './cluster/dfget-run.ts';
import { commandError } from './cluster/command-error.ts';
import { OriginProcess } from './cluster/origin-process.ts';
import { interruptSignal } from './cluster/interrupt-signal.ts';
import { renderTable } from './report/table.ts';

const usage = `Downloads one file on several hosts at once, all of them processes on this machine.

  npm run demo -- [--hosts N] [--url URL | --file FILE]

  --hosts N     how many (default 4)
  --url URL     what to download; default: a large file of this checkout, from an origin started for it
  --file FILE   a file for that origin to serve`;

const MAX_HOSTS = 200;
const clock = new SystemClock();

interface Wish {
  readonly hosts: number;
  readonly url: string | undefined;
  readonly file: string;
}

interface Finished {
  readonly host: ClusterHost;
  readonly result: DfgetResult;
  readonly done: DoneEvent;
  readonly sha256: string;
}

const say = (text = ''): void => void process.stdout.write(`${text}\n`);

async function demo(wish: Wish, signal: AbortSignal): Promise<void> {
  say(`Starting a supernode and ${wish.hosts} hosts.`);
  await using cluster = await Cluster.start({ hosts: wish.hosts, signal });
  await using origin =
    wish.url === undefined
      ? await OriginProcess.start(cluster.workplace, { file: wish.file }, { signal })
      : undefined;
  const url = origin?.url ?? wish.url ?? '';
  if (origin !== undefined) say(`Serving ${wish.file} at ${url}`);
  say(`supernode  ${cluster.apiUrl}`);
  for (const host of cluster.hosts) say(`${host.name}     dfdaemon on ${host.address}`);
  say(`\nDownloading ${url} on all of them at once …`);

  const startMs = clock.monotonic();
  const results = await Promise.all(
    cluster.hosts.map(async (host) => ({ host, result: await host.dfget(url, { signal }) })),
  );
  const seconds = (clock.monotonic() - startMs) / 1000;
  signal.throwIfAborted();
  const finished = await Promise.all(results.map(async (each) => finishedRun(each, cluster)));

  const copies = await originCopies(cluster, origin, finished);
  const wanted = origin === undefined ? undefined : await sha256Of(wish.file);
  say();
  say(report(finished, wanted));
  const [first] = finished;
  if (first === undefined) return;
  const equal = finished.every(({ sha256 }) => sha256 === (wanted ?? first.sha256));
  say(`sha256 ${first.sha256}`);
  say(equal ? `equal on all ${wish.hosts} hosts` : 'NOT equal on all hosts');
  say(`${humanBytes(first.done.length)} to ${wish.hosts} hosts in ${seconds.toFixed(2)} s`);
  say(`origin copies ${copies}`);
  if (!equal) throw new CodedError('ERR_DIGEST_MISMATCH', 'the copies are not equal');
}

async function finishedRun(
  { host, result }: { host: ClusterHost; result: DfgetResult },
  cluster: Cluster,
): Promise<Finished> {
  const { done, failed, exitCode, stderr } = result;
  if (done !== undefined && exitCode === 0) {
    return { host, result, done, sha256: await sha256Of(host.output) };
  }
  const reason = failed?.message ?? stderr.trim();
  const message = `${host.name}: dfget ended with ${exitCode}: ${reason}\n${cluster.lastLogs()}`;
  throw new CodedError(failed?.code ?? 'ERR_INTERNAL', message);
}

function report(finished: readonly Finished[], wanted: string | undefined): string {
  const columns = ['host', 'seconds', 'from peers', 'from seed', 'from origin', 'sha256'];
  const expected = wanted ?? finished[0]?.sha256;
  const rows = finished.map(({ host, result, done, sha256 }) => ({
    host: `${host.name} (${host.address})`,
    seconds: result.seconds.toFixed(2),
    'from peers': humanBytes(done.fromPeers),
    'from seed': humanBytes(done.fromSeed),
    'from origin': humanBytes(done.fromOrigin),
    sha256: sha256 === expected ? 'equal' : 'DIFFERENT',
  }));
  return renderTable(columns, rows);
}

/** Counted by our own origin where it is ours, else what supernode and hosts say they took from it. */
async function originCopies(
  cluster: Cluster,
  origin: OriginProcess | undefined,
  finished: readonly Finished[],
): Promise<string> {
  const length = finished[0]?.done.length ?? 0;
  const copies = (bytes: number): string => (length === 0 ? 0 : bytes / length).toFixed(2);
  if (origin !== undefined) {
    const { bodyBytes, requests } = await origin.stats();
    return `${copies(bodyBytes)} (the origin sent ${bodyBytes} bytes in ${requests} requests)`;
  }
  const tasks = new Set(finished.map(({ done }) => done.task));
  const versions = (
    await Promise.all([...tasks].map(async (task) => cluster.versions(task)))
  ).flat();
  const bySeed = versions.reduce((sum, { seed }) => sum + (seed?.originBytes ?? 0), 0);
  const byHosts = finished.reduce((sum, { done }) => sum + done.fromOrigin, 0);
  return `${copies(bySeed + byHosts)} (as supernode and hosts count it)`;
}

async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file, { highWaterMark: 1024 * 1024 }), hash);
  return hash.digest('hex');
}

/** The largest file that is surely here: the program that runs this. */
function largeFile(): string {
  const installed = join(
    dirname(createRequire(import.meta.url).resolve('node/package.json')),
    'bin',
    'node',
  );
  return existsSync(installed) ? installed : process.execPath;
}

async function wishOf(args: string[]): Promise<Wish | undefined> {
  const { values } = parseArgs({
    args,
    options: {
      hosts: { type: 'string', default: '4' },
      url: { type: 'string' },
      file: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const hosts = Number(values.hosts);
  if (!Number.isInteger(hosts) || hosts < 1 || hosts > MAX_HOSTS) {
    throw new CodedError('ERR_USAGE', `--hosts: from 1 to ${MAX_HOSTS}, got ${values.hosts}`);
  }
  if (values.url !== undefined && values.file !== undefined) {
    throw new CodedError('ERR_USAGE', '--url and --file: one of them');
  }
  if (values.url !== undefined && !/^https?:\/\//.test(values.url)) {
    throw new CodedError('ERR_USAGE', `--url: an http or https URL, got ${values.url}`);
  }
  const file = resolve(values.file ?? largeFile());
  const isFile = await stat(file).then(
    (found) => found.isFile(),
    () => false,
  );
  if (!isFile) throw new CodedError('ERR_USAGE', `--file: ${basename(file)} is not a file`);
  return { hosts, url: values.url, file };
}

const interrupt = interruptSignal();
try {
  const wish = await wishOf(process.argv.slice(2));
  if (wish === undefined) say(usage);
  else await demo(wish, interrupt);
} catch (error) {
  const coded = commandError(error);
  process.stderr.write(interrupt.aborted ? 'stopped\n' : `demo: ${coded.message}\n`);
  process.exitCode = interrupt.aborted ? 130 : coded.facts.exit;
}
