import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { Cluster } from '../cluster/cluster.ts';
import type { ClusterHost } from '../cluster/cluster-host.ts';
import { askJson } from '../cluster/local-api.ts';
import { OriginProcess } from '../cluster/origin-process.ts';
import { IDCS, LEAST_BUDGET, WINDOW_MS, limitedAddress, loadOf } from './limits-load.ts';
import type { LimitLoad, Limiter } from './limits-load.ts';
import { bringToSeed } from './supernode-orders.ts';

/** What is measured. */
export interface LimitsOptions {
  readonly limiters: readonly Limiter[];
  /** Bytes per second. */
  readonly rates: readonly number[];
  /** Downloads at a time. */
  readonly tasks: readonly number[];
  /** Whether what passes after a change is measured too. */
  readonly isLowering: boolean;
  /** Where stores are; default the system's folder for temporary files. */
  readonly parent?: string;
  readonly signal: AbortSignal;
  readonly onStep: (text: string) => void;
  /** Told as soon as there is one. */
  readonly onSample?: (sample: LimitSample) => void;
}

/** One measurement, bytes per second. */
export interface LimitSample {
  readonly limiter: Limiter;
  readonly tasks: number;
  /** What was set for all tasks together, and what passed in each window. */
  readonly set: number;
  readonly windows: readonly number[];
  /** Half of it was set then, or the least that may be: what passed in a window that began 2 s later. */
  readonly lowered: { readonly set: number; readonly rate: number } | undefined;
  /** Verified bytes of each task over all windows of 2 s; where these are few pieces they say little. */
  readonly each: readonly number[];
}

interface About {
  readonly limiter: Limiter;
  readonly set: number;
  readonly tasks: number;
  /** Where the origin is: a rate of its own holds for it, for some limiters. */
  readonly address: string;
  readonly isLowering: boolean;
  readonly signal: AbortSignal;
}

const SETTLE_MS = 2_000;
const HOSTS = 4;
/** Nothing that a window needs comes to its end: the change, and as much again, besides settling and windows. */
const SPARE_MS = 6_000;
/** Content that is much smaller comes inside of a reply. */
const LEAST_BYTES = 2_097_152;
/** Each store lets go of what was measured before. */
const QUOTA = '4GB';
const clock = new SystemClock();

/** Measures every limiter at every rate, with real processes on loopback, downloads from an origin, the seed or a host. */
export async function runLimits(options: LimitsOptions): Promise<LimitSample[]> {
  const samples: LimitSample[] = [];
  for (const isApart of [false, true]) {
    const limiters = options.limiters.filter((name) => (name === 'between') === isApart);
    if (limiters.length === 0) continue;
    await using cluster = await startCluster(options, isApart);
    samples.push(...(await measureAll(cluster, limiters, options)));
  }
  return samples;
}

/** Apart: the supernode in one idc, the hosts in another. */
async function startCluster(
  { rates, parent, signal }: LimitsOptions,
  isApart: boolean,
): Promise<Cluster> {
  const flags = rates.flatMap((rate, at) => {
    return ['--origin-host-limit', `${limitedAddress(at)}=${rate}`];
  });
  const place = (idc: string): string[] => (isApart ? ['--idc', idc] : []);
  return Cluster.start({
    hosts: HOSTS,
    supernodeArgs: ['--quota', QUOTA, ...place(IDCS.from)],
    daemonArgs: (host) => ['--quota', QUOTA, ...place(IDCS.to), ...(host === 1 ? flags : [])],
    ...(parent === undefined ? {} : { parent }),
    signal,
  });
}

async function measureAll(
  cluster: Cluster,
  limiters: readonly Limiter[],
  options: LimitsOptions,
): Promise<LimitSample[]> {
  const { isLowering, signal } = options;
  const samples: LimitSample[] = [];
  for (const [at, set] of options.rates.entries()) {
    for (const limiter of limiters) {
      for (const tasks of options.tasks) {
        options.onStep(`${limiter}, ${set} B/s, ${tasks} tasks`);
        const about = { limiter, set, tasks, address: limitedAddress(at), isLowering, signal };
        const sample = await measure(cluster, about);
        options.onSample?.(sample);
        samples.push(sample);
      }
    }
  }
  return samples;
}

async function measure(cluster: Cluster, about: About): Promise<LimitSample> {
  const { limiter, set, tasks, signal } = about;
  const load = loadOf(cluster, limiter, about.address);
  const seconds = (load.settleMs + WINDOW_MS * load.windows + SPARE_MS) / 1_000;
  const size = Math.max(LEAST_BYTES, Math.ceil((set * seconds) / tasks));
  const place = load.isOfAddress ? { place: { address: about.address, enter: [] } } : {};
  await using origin = await OriginProcess.start(cluster.workplace, { size }, { ...place, signal });
  const urls = Array.from({ length: tasks }, (_none, at) => `${origin.url}?${at}`);
  // A seed that reads its origin is busy with that, and what is measured is no supply.
  if (load.pattern === 'p2p') await bringToSeed(cluster, urls, signal);
  const { giver } = load;
  if (giver !== undefined) {
    await Promise.all(urls.map(async (url) => download(giver, { url, pattern: 'p2p' }, signal)));
  }
  const controller = new AbortController();
  const former = new Set((await verified(load)).keys());
  // Limits of tasks come with their downloads, and end with them.
  const isSet = limiter !== 'task' && limiter !== 'task-origin';
  if (isSet) await load.set(set);
  const limitRate = load.isOfTasks ? Math.round(set / tasks) : 0;
  const running = urls.map(async (url, at) => {
    const host = load.takers[at % load.takers.length];
    const request = { url, pattern: load.pattern, limitRate };
    if (host !== undefined) await download(host, request, controller.signal);
  });
  try {
    return { limiter, set, tasks, ...(await watch(load, about, former)) };
  } finally {
    controller.abort();
    await Promise.all(running);
    if (isSet) await load.set(0);
    for (const host of cluster.hosts) {
      for (const task of await host.tasks()) await forget(host, task);
    }
  }
}

async function watch(
  load: LimitLoad,
  { set, isLowering, signal }: About,
  former: ReadonlySet<string>,
): Promise<Pick<LimitSample, 'windows' | 'lowered' | 'each'>> {
  await clock.sleep(load.settleMs, { signal });
  const before = await verified(load);
  const windows: number[] = [];
  for (let window = 0; window < load.windows; window += 1) {
    windows.push(await rateOf(load, signal));
  }
  const after = await verified(load);
  const lowered = isLowering && load.canChange ? await lower(load, set, signal) : undefined;
  const own = [...after].filter(([task]) => !former.has(task));
  const each = own.map(([task, bytes]) => bytes - (before.get(task) ?? 0));
  return { windows, lowered, each };
}

async function lower(
  load: LimitLoad,
  former: number,
  signal: AbortSignal,
): Promise<NonNullable<LimitSample['lowered']>> {
  const set = Math.max(LEAST_BUDGET, Math.round(former / 2));
  await load.set(set);
  await clock.sleep(SETTLE_MS, { signal });
  return { set, rate: await rateOf(load, signal) };
}

async function rateOf(load: LimitLoad, signal: AbortSignal): Promise<number> {
  const before = await look(load);
  await clock.sleep(WINDOW_MS, { signal });
  const after = await look(load);
  return ((after.bytes - before.bytes) * 1_000) / (after.ms - before.ms);
}

/** Programs on a busy machine take their time to answer: what they say held at about the middle of it. */
async function look(load: LimitLoad): Promise<{ readonly bytes: number; readonly ms: number }> {
  const askedMs = clock.monotonic();
  const bytes = await load.passed();
  return { bytes, ms: (askedMs + clock.monotonic()) / 2 };
}

/** Bytes of each task that are verified. */
async function verified({ takers }: LimitLoad): Promise<Map<string, number>> {
  const all = new Map<string, number>();
  for (const host of takers) {
    const { tasks } = (await askJson({ socketPath: host.socket }, '/v1/tasks')) as {
      tasks: { task: string; receivedBytes: number }[];
    };
    for (const { task, receivedBytes } of tasks) all.set(task, receivedBytes);
  }
  return all;
}

async function download(
  host: ClusterHost,
  request: {
    readonly url: string;
    readonly pattern: 'p2p' | 'source';
    readonly limitRate?: number;
  },
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const event of host.download(request, { signal })) {
      if (event.type === 'failed') throw new CodedError('ERR_INTERNAL', event.message);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** What was broken off a moment ago may still be in use: it is left to the end of the cluster. */
async function forget(host: ClusterHost, task: string): Promise<void> {
  await host.forget(task).catch(() => undefined);
}
