/**
 * Many hosts on one supernode, in processes that hold hundreds of them each: all that a host says to its supernode is
 * real (libp2p with noise, joining by token, registration, batched reports, announcements), and pieces come to be had
 * as time goes by. What is measured is the supernode.
 */
import { SystemClock } from '../../core/base/clock.ts';
import { pieceLengthFor } from '../../core/piece/piece-length.ts';
import { Cluster } from '../cluster/cluster.ts';
import { outputOf } from '../cluster/command.ts';
import { OriginProcess } from '../cluster/origin-process.ts';
import { processMemory } from '../measure/process-usage.ts';
import type { CrowdCase } from './crowd-case.ts';
import { comeback } from './crowd-comeback.ts';
import type { Comeback } from './crowd-comeback.ts';
import { cutHost, killedHost } from './crowd-cut.ts';
import type { Cut } from './crowd-cut.ts';
import { CrowdProcess } from './crowd-process.ts';
import { CrowdWatch } from './crowd-watch.ts';
import type { CrowdWindow } from './crowd-watch.ts';

/** Everything one run of the benchmark found. */
export interface CrowdResult {
  readonly crowd: CrowdCase;
  /** Resident bytes of the supernode before the first host came, and with all of them. */
  readonly memory: { readonly empty: number; readonly connected: number; readonly peak: number };
  /** Milliseconds each host took to join and connect, some at a time. */
  readonly connectMs: readonly number[];
  /** Milliseconds each registration took: nine tenths of the hosts at once, the rest one after the other. */
  readonly registerMs: { readonly atOnce: readonly number[]; readonly spread: readonly number[] };
  readonly windows: readonly CrowdWindow[];
  /** Hosts that did not come to have everything. */
  readonly failed: number;
  readonly cuts: readonly Cut[];
  readonly comeback: Comeback;
}

/** How it is run. */
export interface CrowdRunning {
  readonly signal: AbortSignal;
  /** Told what is being done. */
  readonly onStep: (text: string) => void;
}

const clock = new SystemClock();
/** The supernode lets in so many strangers from one address, and all hosts are on one. */
const CONNECTING = 96;
const JOINER_SHARE = 0.1;
const RUNNING_SHARE = 0.1;
const SETTLE_MS = 2_000;
/** Hosts of the task in which one is cut off: few, so that everybody is offered everybody. */
const SMALL_SWARM = 12;

/** Runs the benchmark. */
export async function runCrowd(crowd: CrowdCase, running: CrowdRunning): Promise<CrowdResult> {
  const { signal, onStep } = running;
  onStep('starting the supernode');
  const { parent } = crowd;
  await using cluster = await Cluster.start({ hosts: 0, parent, signal });
  await using origin = await OriginProcess.start(
    cluster.workplace,
    { size: crowd.pieces * pieceLengthFor(0) },
    { signal },
  );
  await using stack = new AsyncDisposableStack();
  const processes: CrowdProcess[] = [];
  for (let number = 1; number <= Math.ceil(crowd.hosts / crowd.hostsPerProcess); number += 1) {
    processes.push(stack.use(await startProcess(`crowd-${number}`, cluster)));
  }
  const joinToken = await newToken(cluster, signal);
  const bench = new CrowdBench(crowd, { cluster, processes, joinToken, running, url: origin.url });
  // Awaited here: what it works with is closed after it.
  return await bench.run();
}

async function startProcess(name: string, cluster: Cluster): Promise<CrowdProcess> {
  return CrowdProcess.start(name, {
    workplace: cluster.workplace,
    supernode: cluster.meshAddress,
  });
}

/** A join token for as many light hosts as there are. */
export async function newToken({ workplace }: Cluster, signal: AbortSignal): Promise<string> {
  const dataDir = await workplace.subfolder('supernode');
  const { guard, env, installation } = workplace;
  const argv = [...installation('supernode'), 'token', 'create', '--data-dir', dataDir];
  return outputOf(argv, { guard, env, signal });
}

interface CrowdParts {
  readonly cluster: Cluster;
  readonly processes: readonly CrowdProcess[];
  readonly joinToken: string;
  readonly running: CrowdRunning;
  readonly url: string;
}

/** Hosts of one process that do something, half-open. */
interface Share {
  readonly process: CrowdProcess;
  readonly hosts: { readonly start: number; readonly end: number };
}

class CrowdBench {
  readonly #crowd: CrowdCase;
  readonly #parts: CrowdParts;
  readonly #watch: CrowdWatch;

  constructor(crowd: CrowdCase, parts: CrowdParts) {
    this.#crowd = crowd;
    this.#parts = parts;
    this.#watch = new CrowdWatch(parts);
  }

  async run(): Promise<CrowdResult> {
    const crowd = this.#crowd;
    const empty = await this.#memory();
    const connectMs = await this.#connect();
    await clock.sleep(SETTLE_MS);
    const idle = await this.#window('idle', crowd.hosts);
    const connected = await this.#memory();
    const taking = await this.#take();
    const peak = await this.#memory('peakRss');
    const cuts = await this.#cuts();
    const back = await this.#comeback();
    const { windows, ...took } = taking;
    const memory = { empty, connected, peak };
    return { crowd, memory, connectMs, ...took, windows: [idle, ...windows], cuts, comeback: back };
  }

  async #connect(): Promise<number[]> {
    const { processes, joinToken, running } = this.#parts;
    running.onStep(`${this.#crowd.hosts} hosts join and connect`);
    const parallel = Math.max(1, Math.floor(CONNECTING / processes.length));
    const answers = await Promise.all(
      this.#shares(0, 1).map(async ({ process, hosts: { end } }) =>
        process.order({ do: 'connect', joinToken, hosts: end, parallel }),
      ),
    );
    return answers.flatMap(({ milliseconds }) => milliseconds);
  }

  /** All take one task: most at once, and while they have a part of it the others one after the other. */
  async #take(): Promise<Pick<CrowdResult, 'registerMs' | 'windows' | 'failed'>> {
    const { processes, running, url } = this.#parts;
    const { hosts, windowSeconds } = this.#crowd;
    const first = 1 - JOINER_SHARE;
    const most = Math.round(hosts * first);
    running.onStep(`${most} hosts take ${this.#crowd.pieces} pieces at once`);
    const whole = await this.#watch.start('taking it, from first to last', hosts);
    const burst = await this.#watch.start('registering at once', most);
    const atOnce = await this.#order(url, this.#shares(0, first), 0);
    const windows = [await burst.end()];
    await clock.sleep(SETTLE_MS);
    windows.push(await this.#window('taking it, nobody joining', most));
    const joining = await this.#watch.start('taking it, others joining', hosts);
    const spread = await this.#order(url, this.#shares(first, 1), windowSeconds * 1_000);
    windows.push(await joining.end());
    running.onStep('until all have it');
    const answers = await Promise.all(
      processes.map(async (process) => process.order({ do: 'whole', url })),
    );
    windows.push(await whole.end());
    const failed = answers.reduce((sum, answer) => sum + answer.failed, 0);
    return { registerMs: { atOnce, spread }, windows, failed };
  }

  /** Two hosts of a small swarm go: one killed, one that is silent from one moment to the next. */
  async #cuts(): Promise<Cut[]> {
    const { cluster, processes, joinToken, running } = this.#parts;
    const [children] = processes;
    if (children === undefined) return [];
    const url = `${this.#parts.url}?cut`;
    const rate = this.#crowd.pieces / 600;
    const range = { start: 0, end: SMALL_SWARM };
    const taken = { do: 'take', url, piecesPerSecond: rate, overMs: 0 } as const;
    const cuts: Cut[] = [];
    for (const [kind, measure] of [
      ['killed', killedHost],
      ['silent', cutHost],
    ] as const) {
      running.onStep(`a host is ${kind}`);
      await using victim = await startProcess(`crowd-${kind}`, cluster);
      await victim.order({ do: 'connect', joinToken, hosts: 1, parallel: 1 });
      await victim.order({ ...taken, hosts: { start: 0, end: 1 } });
      if (cuts.length === 0) await children.order({ ...taken, hosts: range });
      const askers = { start: SMALL_SWARM, end: this.#shares(0, 1)[0]?.hosts.end ?? 0 };
      cuts.push(await measure({ url, victim, children, range, askers, clock }));
    }
    return cuts;
  }

  async #comeback(): Promise<Comeback> {
    const { cluster, processes, running, url } = this.#parts;
    running.onStep('the supernode is killed and started again');
    const rate = this.#crowd.pieces / 600;
    const takers = this.#shares(1 - RUNNING_SHARE, 1);
    await this.#order(`${url}?running`, takers, { overMs: 0, rate });
    await clock.sleep(SETTLE_MS);
    return comeback({ cluster, processes, clock, signal: running.signal });
  }

  async #order(
    url: string,
    shares: readonly Share[],
    how: number | { readonly overMs: number; readonly rate: number },
  ): Promise<number[]> {
    const { pieces, takeSeconds } = this.#crowd;
    const usual = { overMs: 0, rate: pieces / takeSeconds };
    const { overMs, rate } = typeof how === 'number' ? { ...usual, overMs: how } : how;
    const answers = await Promise.all(
      shares.map(async ({ process, hosts }) =>
        process.order({ do: 'take', url, hosts, piecesPerSecond: rate, overMs }),
      ),
    );
    return answers.flatMap(({ milliseconds }) => milliseconds);
  }

  /** The part `from` to `to` of the hosts of each process. */
  #shares(from: number, to: number): Share[] {
    const { processes } = this.#parts;
    const { hosts } = this.#crowd;
    return processes.map((process, at) => {
      const before = Math.round((hosts * at) / processes.length);
      const count = Math.round((hosts * (at + 1)) / processes.length) - before;
      return {
        process,
        hosts: { start: Math.round(count * from), end: Math.round(count * to) },
      };
    });
  }

  async #window(name: string, hosts: number): Promise<CrowdWindow> {
    this.#parts.running.onStep(`watching the supernode: ${name}`);
    const window = await this.#watch.start(name, hosts);
    await clock.sleep(this.#crowd.windowSeconds * 1_000, this.#parts.running);
    return window.end();
  }

  async #memory(what: 'rss' | 'peakRss' = 'rss'): Promise<number> {
    return (await processMemory(this.#parts.cluster.supernode.pid))?.[what] ?? 0;
  }
}
