/**
 * A release that begins amid eight warm-ups of the same host, over a line of its own rate, in a lab: from a seed that
 * has everything, or from an origin. What of the line the release gets, how soon, and whether the warm-ups move.
 */
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Priority } from '../../core/base/priority.ts';
import { Cluster } from '../cluster/cluster.ts';
import { OriginProcess } from '../cluster/origin-process.ts';
import { Workplace } from '../cluster/workplace.ts';
import { measureGoodput } from '../lab/goodput.ts';
import { Lab } from '../lab/lab.ts';
import { withCpuUse } from '../measure/process-usage.ts';
import { rateWithin, secondsUntil } from '../measure/rate-samples.ts';
import type { ByteSample } from '../measure/rate-samples.ts';
import { SUPERNODE, forgetAll, newLabName, placeOf, placesIn, untilQuiet } from './lab-cluster.ts';
import { bringToSeed, writeKeyFile } from './supernode-orders.ts';

/** Where the content comes from; the line of the host is what is narrow. */
export const releaseSources = ['seed', 'origin'] as const;
export type ReleaseSource = (typeof releaseSources)[number];

/** What is measured. */
export interface PriorityOptions {
  readonly sources: readonly ReleaseSource[];
  /** Bits per second of the host's line, each way. */
  readonly rate: number;
  readonly warmUps: number;
  readonly signal: AbortSignal;
  readonly onStep: (text: string) => void;
}

/** One release; verified payload in bytes a second. */
export interface PriorityRun {
  readonly source: ReleaseSource;
  /** One TCP stream alone. */
  readonly line: number;
  /** All warm-ups before, and the release and they from 2 s after it began to 6 s. */
  readonly before: number;
  readonly release: number;
  readonly warmUps: number;
  /** Seconds until the release had 80 % of the line for a second; undefined: never. */
  readonly reachedAfter: number | undefined;
  /** Warm-ups that got something while the release ran, of how many. */
  readonly moved: number;
  readonly of: number;
  /** Share of the machine that was busy. */
  readonly cpu: number;
}

const ORIGIN = 'origin';
const HOST = '1';
const SETTLE_MS = 6_000;
const DURING_MS = 8_000;
const LOOK_MS = 100;
const JUDGED = { fromMs: 2_000, toMs: 6_000 };
const WINDOW_MS = 1_000;
/** Of the line, that a release is to have. */
export const RELEASE_SHARE = 0.8;
/** Nothing ends before it is looked at: seconds of the whole line. */
const WARM_SECONDS = 20;
const RELEASE_SECONDS = 12;
const clock = new SystemClock();

/** Runs the benchmark; ERR_INTERNAL when a download fails. */
export async function runPriorities(options: PriorityOptions): Promise<PriorityRun[]> {
  const { rate, sources, signal, onStep } = options;
  onStep('a lab of one host, and the programs in it');
  const names = [HOST, SUPERNODE, ORIGIN].map((name) => ({ name }));
  await using lab = await Lab.up({ name: newLabName(), hosts: names, signal });
  await using files = await Workplace.open({ signal });
  const supernodeArgs = ['--api-key-file', await writeKeyFile(files)];
  const places = placesIn(lab);
  await using cluster = await Cluster.start({ hosts: 1, places, supernodeArgs, signal });
  await lab.setRate(HOST, { up: rate, down: rate });
  const { guard, env } = cluster.workplace;
  const line = await measureGoodput(lab, { from: SUPERNODE, to: HOST }, { guard, env, signal });
  const runs: PriorityRun[] = [];
  for (const source of sources) {
    const bench = new PriorityBench({ lab, cluster, options });
    runs.push({ source, line, ...(await bench.run(source, line)) });
    await forgetAll(cluster);
  }
  return runs;
}

/** One of the downloads, and what of it is here. */
interface Taking {
  received: number;
  done: Promise<void>;
  failure: unknown;
}

interface Request {
  readonly url: string;
  readonly pattern: 'p2p' | 'source';
  readonly priority: Priority;
}

class PriorityBench {
  readonly #lab: Lab;
  readonly #cluster: Cluster;
  readonly #options: PriorityOptions;
  readonly #controller = new AbortController();
  readonly #taken: Taking[] = [];

  constructor(parts: { lab: Lab; cluster: Cluster; options: PriorityOptions }) {
    this.#lab = parts.lab;
    this.#cluster = parts.cluster;
    this.#options = parts.options;
  }

  async run(source: ReleaseSource, line: number): Promise<Omit<PriorityRun, 'source' | 'line'>> {
    const { warmUps: count, rate, signal, onStep } = this.#options;
    onStep(`${source}: ${count} contents, and one more`);
    const cluster = this.#cluster;
    await using warm = await this.#origin('warm', (rate / 8) * WARM_SECONDS);
    await using fresh = await this.#origin('fresh', (rate / 8) * RELEASE_SECONDS);
    const urls = Array.from({ length: count }, (_item, at) => `${warm.url}?${source}${at}`);
    const releaseUrl = `${fresh.url}?${source}`;
    if (source === 'seed') await bringToSeed(cluster, [...urls, releaseUrl], signal);
    await untilQuiet(cluster);
    onStep(`${source}: warm-ups`);
    const pattern = source === 'seed' ? 'p2p' : 'source';
    const warming = urls.map((url) => this.#take({ url, pattern, priority: 'warm-up' }));
    const sum = (): number => warming.reduce((all, { received }) => all + received, 0);
    try {
      await clock.sleep(SETTLE_MS / 2, { signal });
      const first = { atMs: clock.monotonic(), bytes: sum() };
      await clock.sleep(SETTLE_MS / 2, { signal });
      const before = ((sum() - first.bytes) * 1000) / (clock.monotonic() - first.atMs);
      onStep(`${source}: the release`);
      const had = warming.map(({ received }) => received);
      const { result, cpu } = await withCpuUse(cluster.pids, async () =>
        this.#watch({ url: releaseUrl, pattern, priority: 'release' }, { sum, line }),
      );
      const failed = this.#taken.find(({ failure }) => failure !== undefined);
      if (failed !== undefined) throw CodedError.from(failed.failure);
      const moved = warming.filter(({ received }, at) => received > (had[at] ?? 0)).length;
      return { before, ...result, moved, of: count, cpu: cpu.machine };
    } finally {
      this.#controller.abort();
      await Promise.all(this.#taken.map(async ({ done }) => done));
    }
  }

  async #watch(
    request: Request,
    about: { readonly sum: () => number; readonly line: number },
  ): Promise<Pick<PriorityRun, 'release' | 'warmUps' | 'reachedAfter'>> {
    const { signal } = this.#options;
    const beganMs = clock.monotonic();
    const taking = this.#take(request);
    const own: ByteSample[] = [];
    const theirs: ByteSample[] = [];
    while (clock.monotonic() < beganMs + DURING_MS) {
      const atMs = clock.monotonic();
      own.push({ atMs, bytes: taking.received });
      theirs.push({ atMs, bytes: about.sum() });
      await clock.sleep(LOOK_MS, { signal });
    }
    const window = { fromMs: beganMs + JUDGED.fromMs, toMs: beganMs + JUDGED.toMs };
    const least = { fromMs: beganMs, rate: RELEASE_SHARE * about.line, windowMs: WINDOW_MS };
    return {
      release: rateWithin(own, window) ?? 0,
      warmUps: rateWithin(theirs, window) ?? 0,
      reachedAfter: secondsUntil(own, least),
    };
  }

  #take(request: Request): Taking {
    const { signal } = this.#controller;
    const taking: Taking = { received: 0, done: Promise.resolve(), failure: undefined };
    taking.done = this.#read(request, taking).catch((error: unknown) => {
      if (!signal.aborted) taking.failure = error;
    });
    this.#taken.push(taking);
    return taking;
  }

  async #read(request: Request, taking: Taking): Promise<void> {
    const { signal } = this.#controller;
    for await (const event of this.#cluster.host(1).download(request, { signal })) {
      if (event.type === 'failed') throw new CodedError('ERR_INTERNAL', event.message);
      if (event.type === 'progress') taking.received = event.received;
    }
  }

  async #origin(name: string, size: number): Promise<OriginProcess> {
    const place = placeOf(this.#lab, ORIGIN);
    const { signal } = this.#options;
    return OriginProcess.start(
      this.#cluster.workplace,
      { size: Math.ceil(size) },
      { name, place, signal },
    );
  }
}
