/**
 * Releases of a small web service to real dfdaemons: a first version, a second one while the supernode is killed at
 * every step, and a bad one that has to come back by itself; with a visitor who wants an answer all the time.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { ApiClient } from '../../ops/cli/api-client.ts';
import { Cluster } from '../cluster/cluster.ts';
import { freePorts } from '../cluster/free-ports.ts';
import { OriginProcess } from '../cluster/origin-process.ts';
import { Workplace } from '../cluster/workplace.ts';
import { endOfCall } from './end-of-call.ts';
import { SERVICE, packService } from './release-service.ts';
import type { PackedService } from './release-service.ts';
import { ReleaseVisitor, versionAt } from './release-visitor.ts';
import type { Visits } from './release-visitor.ts';

/** What is released, and to whom. */
export interface ReleaseCase {
  readonly hosts: number;
  readonly idcs: number;
  readonly batches: number;
  /** Random bytes in each package. */
  readonly padBytes: number;
}

/** One release and what came of it. */
export interface ReleaseOutcome {
  readonly version: string;
  readonly phase: string;
  readonly seconds: number;
  /** Bytes that left the origin of the package, over its length. */
  readonly copies: number;
  /** How often the supernode was killed meanwhile. */
  readonly deaths: number;
  /** Hosts that the release did something on. */
  readonly touched: number;
  /** Hosts of each idc in each batch. */
  readonly batches: readonly (readonly string[])[];
  /** Absent: nothing was there to be visited before. */
  readonly visits: Visits | undefined;
  /** What the hosts answer with afterwards; `none` for one that does not. */
  readonly answers: ReadonlyMap<string, number>;
}

export interface ReleaseRunning {
  readonly signal: AbortSignal;
  readonly onStep: (text: string) => void;
}

/** What is looked at of a release. */
interface Seen {
  readonly phase: string;
  readonly step: string;
  readonly batch: number;
  readonly batches: readonly (readonly { readonly idc?: string; readonly stage?: string }[])[];
}

const clock = new SystemClock();
const KEY = 'a-key-for-the-bench-alone';
const LOOK_MS = 50;
const HEALTH_MS = 20_000;
/** A release that takes longer hangs. */
const MOST_MS = 600_000;

export async function runReleases(
  about: ReleaseCase,
  running: ReleaseRunning,
): Promise<ReleaseOutcome[]> {
  const { signal, onStep } = running;
  const { hosts, idcs, padBytes } = about;
  await using files = await Workplace.open();
  const keys = join(files.folder, 'keys');
  await writeFile(keys, `${KEY}\n`, { mode: 0o600 });
  const ports = await freePorts('127.0.0.1', hosts);
  const maps = await Promise.all(ports.map(async (port, at) => hostFiles(files, at + 1, port)));
  onStep(`starting a supernode and ${hosts} dfdaemons in ${idcs} idcs`);
  await using cluster = await Cluster.start({
    hosts,
    signal,
    supernodeArgs: ['--api-key-file', keys],
    daemonArgs: (number) => {
      const map = maps[number - 1] ?? '';
      return ['--idc', `idc-${(number - 1) % idcs}`, '--call-commands', map];
    },
  });
  const client = new ApiClient(cluster.apiUrl, KEY);
  const outcomes: ReleaseOutcome[] = [];
  const parts = { cluster, client, files, ports, running };
  const versions = [
    { version: '1.0.0', isWell: true, isKilled: false },
    { version: '1.1.0', isWell: true, isKilled: true },
    { version: '2.0.0', isWell: false, isKilled: false },
  ];
  for (const { version, isWell, isKilled } of versions) {
    const packed = await packService(files.folder, { version, isWell, padBytes });
    outcomes.push(await release(about, { ...parts, packed, isKilled }));
  }
  onStep('taking it off again');
  const off = { command: 'package.switch', args: [SERVICE, 'none', '1000'], on: 'all' };
  const { id } = await client.ask('call.run', off);
  await endOfCall(client, id);
  return outcomes;
}

/** What one host lets be released, and where its service listens. */
async function hostFiles(files: Workplace, number: number, port: number): Promise<string> {
  const folder = await files.subfolder(`service-${number}`);
  const place = join(folder, SERVICE);
  await mkdir(place);
  await writeFile(join(folder, 'port'), String(port));
  const map = join(folder, 'commands.yaml');
  const rule = `{ folder: ${place}, runAs: ${userInfo().username} }`;
  await writeFile(map, `packages:\n  ${SERVICE}: ${rule}\n`, { mode: 0o600 });
  return map;
}

interface ReleaseParts {
  readonly cluster: Cluster;
  readonly client: ApiClient;
  readonly files: Workplace;
  readonly ports: readonly number[];
  readonly running: ReleaseRunning;
  readonly packed: PackedService;
  readonly isKilled: boolean;
}

async function release(about: ReleaseCase, parts: ReleaseParts): Promise<ReleaseOutcome> {
  const { cluster, client, files, ports, running, packed, isKilled } = parts;
  const { version, digest, length } = packed;
  running.onStep(`releasing ${version}`);
  await using origin = await OriginProcess.start(
    files,
    { file: packed.file },
    { name: `origin-${version}`, signal: running.signal },
  );
  // Nobody visits what was never there.
  const isThere = (await versionAt(ports[0] ?? 0)) !== undefined;
  await using visitor = isThere ? new ReleaseVisitor(ports) : undefined;
  const beganMs = clock.monotonic();
  const published = { name: SERVICE, version, digest, length, url: origin.url };
  await client.ask('package.publish', published);
  const batches = { count: about.batches };
  const asked = { application: SERVICE, version, on: 'all', pause: 'none', batches } as const;
  const request = { ...asked, healthTimeoutMs: HEALTH_MS };
  const { digest: plan } = await client.ask('release.preview', request);
  const { id } = await client.ask('release.start', { ...request, plan });
  const { seen, deaths } = await followed(id, { cluster, client, isKilled });
  const seconds = (clock.monotonic() - beganMs) / 1000;
  const visits = await visitor?.end();
  const answers = new Map<string, number>();
  for (const port of ports) {
    const answer = (await versionAt(port)) ?? 'none';
    answers.set(answer, (answers.get(answer) ?? 0) + 1);
  }
  const { bodyBytes } = await origin.stats();
  return {
    version,
    phase: seen.phase,
    seconds,
    copies: bodyBytes / length,
    deaths,
    touched: seen.batches.flat().filter(({ stage }) => stage !== undefined).length,
    batches: seen.batches.map((batch) => batch.map(({ idc = '' }) => idc).toSorted()),
    visits,
    answers,
  };
}

/** Looks at a release until it has ended; where it is to be, the supernode is killed whenever a new step is seen. */
async function followed(
  id: string,
  parts: { readonly cluster: Cluster; readonly client: ApiClient; readonly isKilled: boolean },
): Promise<{ readonly seen: Seen; readonly deaths: number }> {
  const { cluster, client, isKilled } = parts;
  const steps = new Set<string>();
  const beganMs = clock.monotonic();
  let deaths = 0;
  while (clock.monotonic() - beganMs < MOST_MS) {
    const seen = await client.ask('release.show', { id }).catch(() => undefined);
    if (seen !== undefined && !['planned', 'running'].includes(seen.phase)) return { seen, deaths };
    const step = seen === undefined ? undefined : `${seen.phase} ${seen.step} ${seen.batch}`;
    if (isKilled && step !== undefined && !steps.has(step)) {
      steps.add(step);
      deaths += 1;
      await cluster.supernode.kill('SIGKILL');
      await cluster.supernode.start();
    }
    await clock.sleep(LOOK_MS);
  }
  throw new CodedError('ERR_TIMEOUT', `release ${id} has not ended\n${cluster.lastLogs()}`);
}
