/**
 * The download budget of a cell in a lab: hosts that take the same content all the time, then half of them stop, then
 * they begin again. What passes all of them together, and how soon the others use what became free.
 */
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { Cluster } from '../cluster/cluster.ts';
import type { ClusterHost } from '../cluster/cluster-host.ts';
import { OriginProcess } from '../cluster/origin-process.ts';
import { Workplace } from '../cluster/workplace.ts';
import { Lab } from '../lab/lab.ts';
import { withCpuUse } from '../measure/process-usage.ts';
import { mostWithin, rateWithin, secondsUntil } from '../measure/rate-samples.ts';
import type { ByteSample } from '../measure/rate-samples.ts';
import { SUPERNODE, newLabName, placeOf, placesIn, untilQuiet } from './lab-cluster.ts';
import { bringToSeed, setCell, writeKeyFile } from './supernode-orders.ts';

/** What is measured. */
export interface CellOptions {
  readonly hosts: number;
  /** Of the cell, bytes a second. */
  readonly budget: number;
  /** Bits per second of every host, each way, and of the seed. */
  readonly rate: number;
  readonly rounds: number;
  readonly signal: AbortSignal;
  readonly onStep: (text: string) => void;
}

/** One round; payload in bytes a second, of all hosts together. */
export interface CellRun {
  readonly hosts: number;
  readonly budget: number;
  /** All hosts take; and half of them, from 2 s after the others stopped. */
  readonly all: number;
  readonly half: number;
  /** Seconds from then until 95 % of the budget passed for a second; undefined: never. */
  readonly reusedAfter: number | undefined;
  /** All again, from 2 s after they began again. */
  readonly again: number;
  /** The most that passed within any 2 s of all this. */
  readonly most: number;
  /** Of all hosts, the least and the most of the mean, while all took. */
  readonly least: number;
  readonly largest: number;
  /** Share of the machine that was busy. */
  readonly cpu: number;
}

const ORIGIN = 'origin';
const SETTLE_MS = 8_000;
/** As long as one looks at what is on a wire. */
const ALL_MS = 10_000;
const HALF_MS = 8_000;
const IN_FORCE_MS = 2_000;
const LOOK_MS = 200;
const WINDOW_MS = 1_000;
const AIM = 0.95;
/** What a host takes at most: the whole budget would be half of that for each when half of them take. */
const SECONDS_OF_CONTENT = 60;
const clock = new SystemClock();

/** Runs the benchmark; ERR_INTERNAL when a download fails. */
export async function runCell(options: CellOptions): Promise<CellRun[]> {
  const { hosts, budget, rate, rounds, signal, onStep } = options;
  onStep(`a lab of ${hosts} hosts, and the programs in it`);
  const names = Array.from({ length: hosts }, (_item, at) => `${at + 1}`);
  await using lab = await Lab.up({
    name: newLabName(),
    hosts: [...names, SUPERNODE, ORIGIN].map((name) => ({ name })),
    rate: { up: rate, down: rate },
    signal,
  });
  await using files = await Workplace.open({ signal });
  const supernodeArgs = ['--api-key-file', await writeKeyFile(files)];
  const places = placesIn(lab);
  await using cluster = await Cluster.start({ hosts, places, supernodeArgs, signal });
  await setCell(cluster, { download: budget });
  const runs: CellRun[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await using origin = await OriginProcess.start(
      cluster.workplace,
      { size: Math.ceil((budget * SECONDS_OF_CONTENT * 2) / hosts) },
      { place: placeOf(lab, ORIGIN), signal },
    );
    onStep(`round ${round + 1}: content to the seed`);
    const url = `${origin.url}?${round}`;
    await bringToSeed(cluster, [url], signal);
    await untilQuiet(cluster);
    runs.push(await new CellBench({ cluster, options, url }).run());
  }
  return runs;
}

class CellBench {
  readonly #cluster: Cluster;
  readonly #options: CellOptions;
  readonly #url: string;
  readonly #samples: (ByteSample & { readonly each: readonly number[] })[] = [];
  readonly #failures: unknown[] = [];

  constructor(parts: { cluster: Cluster; options: CellOptions; url: string }) {
    this.#cluster = parts.cluster;
    this.#options = parts.options;
    this.#url = parts.url;
  }

  async run(): Promise<CellRun> {
    const { result, cpu } = await withCpuUse(this.#cluster.pids, async () => this.#measure());
    const [failure] = this.#failures;
    if (failure !== undefined) throw CodedError.from(failure);
    return { ...result, cpu: cpu.machine };
  }

  async #measure(): Promise<Omit<CellRun, 'cpu'>> {
    const { hosts, budget, onStep } = this.#options;
    const half = Math.ceil(hosts / 2);
    const staying = this.#begin(this.#cluster.hosts.slice(0, half));
    const leaving = this.#begin(this.#cluster.hosts.slice(half));
    try {
      onStep('all take');
      await this.#watch(SETTLE_MS);
      const began = await this.#watch(ALL_MS);
      const shares = this.#shares(began);
      onStep('half of them stop');
      await leaving.stop();
      const left = await this.#watch(HALF_MS);
      onStep('all again');
      const back = this.#begin(this.#cluster.hosts.slice(half));
      const again = await this.#watch(HALF_MS);
      await back.stop();
      const after = (ms: number): number => ms + IN_FORCE_MS;
      return {
        hosts,
        budget,
        all: this.#rate(began, began + ALL_MS),
        half: this.#rate(after(left), left + HALF_MS),
        reusedAfter: secondsUntil(
          this.#samples.filter(({ atMs }) => atMs < again),
          { fromMs: left, rate: AIM * budget, windowMs: WINDOW_MS },
        ),
        again: this.#rate(after(again), again + HALF_MS),
        most: mostWithin(this.#samples, { fromMs: began, windowMs: 2 * WINDOW_MS }),
        ...shares,
      };
    } finally {
      await Promise.all([staying.stop(), leaving.stop()]);
    }
  }

  /** Looks for so long; answers with when that began. */
  async #watch(ms: number): Promise<number> {
    const { signal } = this.#options;
    const beganMs = clock.monotonic();
    while (clock.monotonic() < beganMs + ms) {
      const askedMs = clock.monotonic();
      const each = await Promise.all(this.#cluster.hosts.map(taken));
      const bytes = each.reduce((sum, own) => sum + own, 0);
      // Programs take their time to answer: what they say held at about the middle of it.
      this.#samples.push({ atMs: (askedMs + clock.monotonic()) / 2, bytes, each });
      await clock.sleep(LOOK_MS, { signal });
    }
    return beganMs;
  }

  #rate(fromMs: number, toMs: number): number {
    return rateWithin(this.#samples, { fromMs, toMs }) ?? 0;
  }

  #shares(fromMs: number): Pick<CellRun, 'least' | 'largest'> {
    const inside = this.#samples.filter(({ atMs }) => atMs >= fromMs);
    const last = inside.at(-1)?.each ?? [];
    const own = last.map((bytes, at) => bytes - (inside[0]?.each[at] ?? 0));
    const mean = own.reduce((sum, bytes) => sum + bytes, 0) / own.length;
    return { least: Math.min(...own) / mean, largest: Math.max(...own) / mean };
  }

  #begin(hosts: readonly ClusterHost[]): { stop(): Promise<void> } {
    const controller = new AbortController();
    const { signal } = controller;
    const running = hosts.map(async (host) =>
      this.#take(host, signal).catch((error: unknown) => {
        if (!signal.aborted) this.#failures.push(error);
      }),
    );
    return {
      stop: async () => {
        controller.abort();
        await Promise.all(running);
      },
    };
  }

  async #take(host: ClusterHost, signal: AbortSignal): Promise<void> {
    for await (const event of host.download({ url: this.#url }, { signal })) {
      if (event.type === 'failed') throw new CodedError('ERR_INTERNAL', event.message);
      // Who has it all takes no part any more, and the sum says nothing.
      if (event.type === 'done') throw new CodedError('ERR_INTERNAL', `${host.name} had all of it`);
    }
  }
}

async function taken(host: ClusterHost): Promise<number> {
  return (await host.status()).traffic.linkReceivedBytes;
}
