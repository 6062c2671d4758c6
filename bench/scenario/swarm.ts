/**
 * Many hosts in a lab take one file that nobody of them has: with dfget, and beside it in the same lab with curl and
 * BitTorrent. Supernode and origin have hosts of their own, at the same rate. Before anything else one TCP stream
 * is measured there, and every limit in the report is made of what that got through.
 */
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { pieceCount, pieceLengthFor } from '../../core/piece/piece-length.ts';
import type { DownloadEvent } from '../../core/swarm/download-events.ts';
import { Cluster } from '../cluster/cluster.ts';
import type { ClusterHost } from '../cluster/cluster-host.ts';
import type { DfgetResult, DfgetRun } from '../cluster/dfget-run.ts';
import { OriginProcess } from '../cluster/origin-process.ts';
import { measureGoodput } from '../lab/goodput.ts';
import { Lab } from '../lab/lab.ts';
import { withCpuUse } from '../measure/process-usage.ts';
import type { CpuUse } from '../measure/process-usage.ts';
import { contentDigest } from '../origin/content.ts';
import { quantile } from '../report/swarm-limits.ts';
import { SUPERNODE, forgetAll, newLabName, placeOf, placesIn, untilQuiet } from './lab-cluster.ts';
import { runBeside } from './swarm-beside.ts';
import type { Beside, SwarmCase } from './swarm-case.ts';
import { fileDigest, storedFile } from './swarm-output.ts';
import { PieceWatch } from './swarm-pieces.ts';
import type { Spread } from './swarm-pieces.ts';

/** What one host took. */
export interface HostRun {
  readonly name: string;
  readonly idc: number;
  /** Bits per second on the wire, each way. */
  readonly rate: number;
  /** From the start of the run to its own. */
  readonly joined: number;
  /** From its own start until its dfdaemon had taken the order: what Node needs to start, mostly; 0 elsewhere. */
  readonly started: number;
  /** From its own start to its end; undefined when it was killed. */
  readonly seconds: number | undefined;
  /** Where bytes came from; zeros where the program does not say. */
  readonly fromPeers: number;
  readonly fromSeed: number;
  readonly duplicate: number;
  /** Bytes that hosts and the seed in other idcs sent it. */
  readonly fromOtherIdcs: number;
  /** Seconds since the start of the run, and bytes it had then. */
  readonly curve: readonly (readonly [seconds: number, bytes: number])[];
}

/** Who took it in one run. */
export type SwarmContender = 'dfget' | 'dfget without the slow' | Beside;

/** One run of one contender. */
export interface SwarmRun {
  readonly contender: SwarmContender;
  readonly hosts: readonly HostRun[];
  /** How many hosts had the same piece, over time. */
  readonly spread: readonly Spread[];
  readonly cpu: CpuUse;
  /** Body bytes that left the origin; of BitTorrent what its first seed sent. */
  readonly originBytes: number | undefined;
  /** Seconds after which hosts were killed. */
  readonly killedAfter: number | undefined;
  /** Bytes that came to the hosts, with all headers; undefined where some were killed. */
  readonly wireBytes: number | undefined;
  /** Bytes with all headers that crossed from the first idc to others, and back. */
  readonly crossed: { readonly into: number; readonly out: number } | undefined;
}

/** Everything one run of the benchmark found. */
export interface SwarmResult {
  readonly swarm: SwarmCase;
  /** Payload bytes per second of one TCP connection between two hosts. */
  readonly goodput: number;
  readonly pieceLength: number;
  readonly pieces: number;
  readonly runs: readonly SwarmRun[];
}

/** How it is run. */
export interface SwarmRunning {
  readonly signal: AbortSignal;
  /** Told what is being done. */
  readonly onStep: (text: string) => void;
}

const clock = new SystemClock();
const SEED = 1;
const ORIGIN = 'origin';

/** Runs the benchmark; ERR_DIGEST_MISMATCH when anybody took something else than was served. */
export async function runSwarm(swarm: SwarmCase, running: SwarmRunning): Promise<SwarmResult> {
  const { signal, onStep } = running;
  onStep(`a lab of ${swarm.hosts} hosts`);
  await using lab = await startLab(swarm, signal);
  onStep(`${swarm.form === 'package' ? 'building, packing and ' : ''}starting the programs`);
  await using cluster = await startCluster(swarm, { lab, signal });
  await using origin = await OriginProcess.start(
    cluster.workplace,
    { size: swarm.size },
    { place: placeOf(lab, ORIGIN), signal },
  );
  onStep('one TCP stream');
  const { guard, env } = cluster.workplace;
  const goodput = await measureGoodput(lab, { from: '1', to: '2' }, { guard, env, signal });
  const digest = await contentDigest({ seed: SEED, length: swarm.size });
  const bench = new SwarmBench({ swarm, lab, cluster, origin, digest, running });
  const pieceLength = pieceLengthFor(swarm.size);
  const pieces = pieceCount(swarm.size, pieceLength);
  return { swarm, goodput, pieceLength, pieces, runs: await bench.runs() };
}

async function startLab(swarm: SwarmCase, signal: AbortSignal): Promise<Lab> {
  const { hosts, rate, delayMs, loss, slow, idcs, thin } = swarm;
  const fast = { up: rate, down: rate };
  const slowed = Math.round(rate * (slow?.factor ?? 1));
  const takers = Array.from({ length: hosts }, (_item, at) => ({
    name: `${at + 1}`,
    idc: at % idcs,
    rate: at >= hosts - (slow?.hosts ?? 0) ? { up: slowed, down: slowed } : fast,
  }));
  const name = newLabName();
  const all = [...takers, { name: SUPERNODE }, { name: ORIGIN }];
  return Lab.up({ name, hosts: all, rate: fast, delayMs, loss, thin, signal });
}

async function startCluster(
  { hosts, form, parent, idcs }: SwarmCase,
  { lab, signal }: { readonly lab: Lab; readonly signal: AbortSignal },
): Promise<Cluster> {
  const places = placesIn(lab);
  const daemonArgs = (number: number): string[] =>
    idcs === 1 ? [] : ['--idc', `idc${lab.host(`${number}`).idc}`];
  const supernodeArgs = idcs === 1 ? [] : ['--idc', 'idc0'];
  return Cluster.start({ hosts, form, parent, places, supernodeArgs, daemonArgs, signal });
}

/** What a run of any contender is given. */
export interface SwarmParts {
  readonly swarm: SwarmCase;
  readonly lab: Lab;
  readonly cluster: Cluster;
  readonly origin: OriginProcess;
  /** `sha256:HEX` of what is served. */
  readonly digest: string;
  readonly running: SwarmRunning;
}

class SwarmBench {
  readonly #parts: SwarmParts;

  constructor(parts: SwarmParts) {
    this.#parts = parts;
  }

  async runs(): Promise<SwarmRun[]> {
    const { swarm, cluster, running } = this.#parts;
    const runs: SwarmRun[] = [];
    if (swarm.slow !== undefined) {
      const fast = cluster.hosts.slice(0, -swarm.slow.hosts);
      runs.push(await this.#dfget('dfget without the slow', fast));
      await forgetAll(cluster);
    }
    runs.push(await this.#dfget('dfget', cluster.hosts));
    if (swarm.beside.length > 0) await forgetAll(cluster);
    for (const beside of swarm.beside) {
      running.onStep(`${beside} on ${cluster.hosts.length} hosts`);
      runs.push(await runBeside(beside, this.#parts));
    }
    return runs;
  }

  async #dfget(contender: SwarmContender, hosts: readonly ClusterHost[]): Promise<SwarmRun> {
    const { swarm, lab, cluster, origin, running } = this.#parts;
    await untilQuiet(cluster);
    running.onStep(`${contender} on ${hosts.length} hosts`);
    // The query makes each run a task of its own; the origin does not look at it.
    const url = `${origin.url}?run=${encodeURIComponent(contender)}`;
    const sentBefore = (await origin.stats()).bodyBytes;
    const crossedBefore = await crossedAll(lab, swarm);
    const wireBefore = await receivedByAll(lab, hosts.length);
    const round = new DfgetRound(url, hosts, this.#parts);
    const victims = new Set(round.victims.map(({ name }) => name));
    const pids = Object.fromEntries(
      Object.entries(cluster.pids).filter(([name]) => !victims.has(name)),
    );
    const { result, cpu } = await withCpuUse(
      { ...pids, origin: origin.program.pid, harness: process.pid },
      async () => round.run(),
    );
    const wireBytes =
      victims.size > 0 ? undefined : (await receivedByAll(lab, hosts.length)) - wireBefore;
    // Afterwards: reading everything again is no part of it.
    await round.verify();
    const originBytes = (await origin.stats()).bodyBytes - sentBefore;
    const crossedAfter = await crossedAll(lab, swarm);
    const crossed =
      crossedBefore === undefined || crossedAfter === undefined
        ? undefined
        : {
            into: crossedAfter.into - crossedBefore.into,
            out: crossedAfter.out - crossedBefore.out,
          };
    const { killedAfter, spread } = round;
    const rest = { originBytes, killedAfter, wireBytes, crossed };
    return { contender, hosts: result, spread, cpu, ...rest };
  }
}

interface TakenByDfget {
  readonly joined: number;
  readonly result: DfgetResult;
}

/** All hosts take one URL, each from its own moment on. */
class DfgetRound {
  readonly victims: readonly ClusterHost[];
  killedAfter: number | undefined;
  readonly #url: string;
  readonly #hosts: readonly ClusterHost[];
  readonly #parts: SwarmParts;
  readonly #curves = new Map<string, [number, number][]>();
  readonly #received = new Map<string, number>();
  readonly #started = new Map<string, number>();
  readonly #runs = new Map<ClusterHost, DfgetRun>();
  readonly #watch: PieceWatch;
  #task = '';
  #results: readonly DfgetResult[] = [];
  #startMs = 0;

  constructor(url: string, hosts: readonly ClusterHost[], parts: SwarmParts) {
    this.#url = url;
    this.#hosts = hosts;
    this.#parts = parts;
    const killed = Math.round(hosts.length * parts.swarm.kill);
    this.victims = hosts.slice(hosts.length - killed);
    const files = hosts.map(({ name, folder }) => {
      const path = async (): Promise<string | undefined> => storedFile(folder, this.#task);
      return { name, path };
    });
    const length = parts.swarm.size;
    this.#watch = new PieceWatch(files, { length, pieceLength: pieceLengthFor(length) });
  }

  get spread(): readonly Spread[] {
    return this.#watch.spread;
  }

  async run(): Promise<HostRun[]> {
    this.#startMs = clock.monotonic();
    this.#watch.start();
    const runs = await this.#takeAll();
    this.#results = runs.map(({ result }) => result);
    this.#parts.running.signal.throwIfAborted();
    return runs.map(({ joined, result }, at) => this.#hostRun(at, joined, result));
  }

  /** Throws where a host that lives has something else than was served, or nothing. */
  async verify(): Promise<void> {
    const isVictim = new Set(this.victims);
    for (const [at, host] of this.#hosts.entries()) {
      if (isVictim.has(host)) continue;
      const { exitCode, failed, stderr } = this.#results[at] ?? {};
      if (exitCode !== 0) {
        const message = `${host.name}: dfget ended with ${exitCode}: ${failed?.message ?? stderr}`;
        throw new CodedError('ERR_INTERNAL', `${message}\n${this.#parts.cluster.lastLogs()}`);
      }
      if ((await fileDigest(host.output)) !== this.#parts.digest) {
        throw new CodedError('ERR_DIGEST_MISMATCH', `${host.name} wrote something else`);
      }
    }
  }

  async #takeAll(): Promise<readonly TakenByDfget[]> {
    try {
      return await Promise.all(this.#hosts.map(async (host, at) => this.#take(host, at)));
    } finally {
      await this.#watch.stop();
    }
  }

  async #take(host: ClusterHost, at: number): Promise<TakenByDfget> {
    const { swarm, running } = this.#parts;
    const waitMs = (swarm.joinOverMs * at) / Math.max(1, this.#hosts.length - 1);
    await clock.sleep(waitMs, { signal: running.signal });
    const joined = this.#seconds();
    this.#curves.set(host.name, [[joined, 0]]);
    const { signal } = running;
    const args = swarm.idcs > 1 ? ['--explain'] : [];
    const onEvent = (event: DownloadEvent): void => this.#note(host, event);
    const run = await host.startDfget(this.#url, { args, signal, onEvent });
    this.#runs.set(host, run);
    return { joined, result: await run.result };
  }

  #note(host: ClusterHost, event: DownloadEvent): void {
    if (event.type === 'started') {
      this.#task = event.task;
      this.#started.set(host.name, this.#seconds());
    }
    const received =
      event.type === 'progress' ? event.received : event.type === 'done' ? event.length : undefined;
    if (received === undefined) return;
    this.#received.set(host.name, received);
    this.#curves.get(host.name)?.push([this.#seconds(), received]);
    if (this.victims.length > 0 && this.killedAfter === undefined) this.#killAtHalf();
  }

  #killAtHalf(): void {
    const received = this.#hosts.map(({ name }) => this.#received.get(name) ?? 0);
    if (quantile(received, 0.5) < this.#parts.swarm.size / 2) return;
    this.killedAfter = this.#seconds();
    // The whole host: a dfget that lives on would take it from the origin.
    for (const victim of this.victims) {
      this.#runs.get(victim)?.kill('SIGKILL');
      void victim.daemon.kill('SIGKILL');
    }
  }

  #hostRun(at: number, joined: number, result: DfgetResult): HostRun {
    const host = this.#hosts[at];
    if (host === undefined) throw new RangeError(`there is no host ${at}`);
    const { lab } = this.#parts;
    const { idc, rate, name } = lab.host(`${at + 1}`);
    const { done } = result;
    const idcOf = new Map(lab.hosts.map((each) => [each.address, each.idc]));
    const sources = done?.explain?.sources ?? [];
    const others = sources.filter(({ role, address = '' }) => {
      const from = role === 'seed' ? 0 : idcOf.get(address.replace(/:\d+$/, ''));
      return from !== undefined && from !== idc;
    });
    return {
      name,
      idc,
      rate: rate.up,
      joined,
      started: (this.#started.get(host.name) ?? joined) - joined,
      seconds: done === undefined ? undefined : result.seconds,
      fromPeers: done?.fromPeers ?? 0,
      fromSeed: done?.fromSeed ?? 0,
      duplicate: done?.duplicate ?? 0,
      fromOtherIdcs: others.reduce((sum, { bytes }) => sum + bytes, 0),
      curve: this.#curves.get(host.name) ?? [],
    };
  }

  #seconds(): number {
    return (clock.monotonic() - this.#startMs) / 1000;
  }
}

/** Bytes that have come to the first so many hosts, with all headers. */
async function receivedByAll(lab: Lab, hosts: number): Promise<number> {
  const names = Array.from({ length: hosts }, (_item, at) => `${at + 1}`);
  const received = await Promise.all(names.map(async (name) => lab.received(name)));
  return received.reduce((sum, bytes) => sum + bytes, 0);
}

async function crossedAll(lab: Lab, { idcs }: SwarmCase): Promise<SwarmRun['crossed']> {
  if (idcs === 1) return undefined;
  const total = { into: 0, out: 0 };
  for (let idc = 1; idc < idcs; idc += 1) {
    const { into, out } = await lab.crossed(idc);
    total.into += into;
    total.out += out;
  }
  return total;
}
