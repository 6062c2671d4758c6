import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { Cluster } from '../cluster/cluster.ts';
import type { ClusterHost } from '../cluster/cluster-host.ts';
import { eventually } from '../cluster/eventually.ts';
import { askApi, askJson } from '../cluster/local-api.ts';
import { OriginProcess } from '../cluster/origin-process.ts';
import { loadOf } from './limits-load.ts';
import type { LimitLoad, Limiter } from './limits-load.ts';

/** What is measured. */
export interface LimitsOptions {
  readonly limiters: readonly Limiter[];
  /** Bytes per second. */
  readonly rates: readonly number[];
  /** Downloads at a time. */
  readonly tasks: readonly number[];
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
  readonly lowered: { readonly set: number; readonly rate: number };
  /** Verified bytes of each task over all windows of 2 s; where these are few pieces they say little. */
  readonly each: readonly number[];
}

interface About {
  readonly limiter: Limiter;
  readonly set: number;
  readonly tasks: number;
  readonly signal: AbortSignal;
}

const SETTLE_MS = 2_000;
/** The cell's share comes in steps of half a second, from an idle host's to all of it. */
const CELL_SETTLE_MS = 6_000;
const WINDOW_MS = 2_000;
const WINDOWS = 3;
const HOSTS = 4;
/** Nothing that a window needs comes to its end: settling, windows, the change, and a third more. */
const SECONDS_OF_CONTENT = 14;
/** Content that is much smaller comes inside of a reply. */
const LEAST_BYTES = 2_097_152;
/** Of a cell, bytes per second. */
const LEAST_BUDGET = 65_536;
const clock = new SystemClock();

/** Measures every limiter at every rate, with real processes on loopback, downloads from an origin, the seed or a host. */
export async function runLimits(options: LimitsOptions): Promise<LimitSample[]> {
  const { signal, onStep } = options;
  await using cluster = await Cluster.start({ hosts: HOSTS, signal });
  const samples: LimitSample[] = [];
  for (const set of options.rates) {
    for (const limiter of options.limiters) {
      for (const tasks of options.tasks) {
        onStep(`${limiter}, ${set} B/s, ${tasks} tasks`);
        const sample = await measure(cluster, { limiter, set, tasks, signal });
        options.onSample?.(sample);
        samples.push(sample);
      }
    }
  }
  return samples;
}

async function measure(cluster: Cluster, about: About): Promise<LimitSample> {
  const { limiter, set, tasks, signal } = about;
  const seconds = SECONDS_OF_CONTENT + (isOfCell(limiter) ? CELL_SETTLE_MS / 1_000 : 0);
  const size = Math.max(LEAST_BYTES, Math.ceil((set * seconds) / tasks));
  await using origin = await OriginProcess.start(cluster.workplace, { size }, { signal });
  const load = loadOf(cluster, limiter);
  const urls = Array.from({ length: tasks }, (_none, at) => `${origin.url}?${at}`);
  // A seed that reads its origin is busy with that, and what is measured is no supply.
  if (load.pattern === 'p2p') await bringToSeed(cluster, urls, signal);
  const { giver } = load;
  if (giver !== undefined) {
    await Promise.all(urls.map(async (url) => download(giver, { url, pattern: 'p2p' }, signal)));
  }
  const controller = new AbortController();
  const former = new Set((await verified(load)).keys());
  const isOfTasks = limiter === 'task' || limiter === 'task-origin';
  if (!isOfTasks) await load.set(set);
  const limitRate = isOfTasks ? Math.round(set / tasks) : 0;
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
    if (!isOfTasks) await load.set(0);
    for (const host of cluster.hosts) {
      for (const task of await host.tasks()) await forget(host, task);
    }
  }
}

async function bringToSeed(
  cluster: Cluster,
  urls: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const { hostname, port } = new URL(cluster.apiUrl);
  const api = { host: hostname, port };
  const body = { urls, to: 'seeds' };
  const { status, text } = await askApi(api, '/api/v1/warm-ups', { method: 'POST', body });
  if (status !== 201) throw new CodedError('ERR_INTERNAL', `warm-up: ${status} ${text}`);
  const { id } = JSON.parse(text) as { id: string };
  const isThere = async (): Promise<true | undefined> => {
    const { state } = (await askJson(api, `/api/v1/warm-ups/${id}`)) as { state: string };
    if (state === 'failed') throw new CodedError('ERR_INTERNAL', 'the warm-up failed');
    return state === 'done' ? true : undefined;
  };
  await eventually('the seed has it', isThere, { withinMs: 120_000, everyMs: 200, signal });
}

function isOfCell(limiter: Limiter): boolean {
  return limiter === 'cell' || limiter === 'cell-origin';
}

async function watch(
  load: LimitLoad,
  { limiter, set, signal }: About,
  former: ReadonlySet<string>,
): Promise<Pick<LimitSample, 'windows' | 'lowered' | 'each'>> {
  await clock.sleep(isOfCell(limiter) ? CELL_SETTLE_MS : SETTLE_MS, { signal });
  const before = await verified(load);
  const windows: number[] = [];
  for (let window = 0; window < WINDOWS; window += 1) windows.push(await rateOf(load, signal));
  const after = await verified(load);
  const lower = Math.max(isOfCell(limiter) ? LEAST_BUDGET : 1, Math.round(set / 2));
  await load.set(lower);
  await clock.sleep(SETTLE_MS, { signal });
  const lowered = { set: lower, rate: await rateOf(load, signal) };
  const own = [...after].filter(([task]) => !former.has(task));
  const each = own.map(([task, bytes]) => bytes - (before.get(task) ?? 0));
  return { windows, lowered, each };
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
