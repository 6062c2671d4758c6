import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { Cluster } from '../cluster/cluster.ts';
import type { ClusterHost } from '../cluster/cluster-host.ts';
import { askJson } from '../cluster/local-api.ts';
import { OriginProcess } from '../cluster/origin-process.ts';

/** The limiters that are measured. */
export const limiters = ['task', 'origin', 'download', 'cell'] as const;
export type Limiter = (typeof limiters)[number];

/** What is measured. */
export interface LimitsOptions {
  readonly limiters: readonly Limiter[];
  /** Bytes per second. */
  readonly rates: readonly number[];
  /** Downloads at a time. */
  readonly tasks: readonly number[];
  readonly signal: AbortSignal;
  readonly onStep: (text: string) => void;
}

/** One measurement. */
export interface LimitSample {
  readonly limiter: Limiter;
  readonly tasks: number;
  /** Bytes per second: what was set for all tasks together, and what passed in each window. */
  readonly set: number;
  readonly windows: readonly number[];
}

const SETTLE_MS = 2_000;
/** The cell's share comes in steps of half a second, from an idle host's to all of it. */
const CELL_SETTLE_MS = 6_000;
const WINDOW_MS = 2_000;
const WINDOWS = 3;
const HOSTS = 4;
/** Nothing that a window needs comes to its end. */
const SECONDS_OF_CONTENT = 30;
const clock = new SystemClock();

/** Measures every limiter at every rate, with real processes on loopback, downloads from an origin or the seed. */
export async function runLimits(options: LimitsOptions): Promise<LimitSample[]> {
  const { signal, onStep } = options;
  await using cluster = await Cluster.start({ hosts: HOSTS, signal });
  const samples: LimitSample[] = [];
  for (const limiter of options.limiters) {
    for (const set of options.rates) {
      for (const tasks of options.tasks) {
        const about = { limiter, set, tasks };
        onStep(`${limiter}, ${set} B/s, ${tasks} tasks`);
        samples.push(await measure(cluster, about, signal));
      }
    }
  }
  return samples;
}

async function measure(
  cluster: Cluster,
  about: Omit<LimitSample, 'windows'>,
  signal: AbortSignal,
): Promise<LimitSample> {
  const { limiter, set, tasks } = about;
  const size = Math.ceil((set * SECONDS_OF_CONTENT) / tasks);
  await using origin = await OriginProcess.start(cluster.workplace, { size }, { signal });
  const hosts = limiter === 'cell' ? cluster.hosts : cluster.hosts.slice(0, 1);
  const controller = new AbortController();
  await setLimit(cluster, about, set);
  const running = Array.from({ length: tasks }, async (_none, at) => {
    const host = hosts[at % hosts.length];
    if (host === undefined) return;
    await download(host, `${origin.url}?${at}`, { ...about, signal: controller.signal });
  });
  try {
    await clock.sleep(limiter === 'cell' ? CELL_SETTLE_MS : SETTLE_MS, { signal });
    const windows: number[] = [];
    for (let window = 0; window < WINDOWS; window += 1) {
      const [bytes, ms] = [await passed(hosts, limiter), clock.monotonic()];
      await clock.sleep(WINDOW_MS, { signal });
      const more = (await passed(hosts, limiter)) - bytes;
      windows.push((more * 1_000) / (clock.monotonic() - ms));
    }
    return { ...about, windows };
  } finally {
    controller.abort();
    await Promise.all(running);
    await setLimit(cluster, about, 0);
    for (const host of hosts) for (const task of await host.tasks()) await forget(host, task);
  }
}

async function setLimit(
  cluster: Cluster,
  { limiter }: Omit<LimitSample, 'windows'>,
  rate: number,
): Promise<void> {
  const [host] = cluster.hosts;
  if (limiter === 'task' || host === undefined) return;
  if (limiter === 'cell') {
    const { hostname, port } = new URL(cluster.apiUrl);
    const question = { method: 'PUT', body: { origin: rate } };
    await askJson({ host: hostname, port }, '/api/v1/limits', question);
    return;
  }
  const question = { method: 'PUT', body: { [limiter]: rate } };
  await askJson({ socketPath: host.socket }, '/v1/limits', question);
}

async function download(
  host: ClusterHost,
  url: string,
  about: Omit<LimitSample, 'windows'> & { readonly signal: AbortSignal },
): Promise<void> {
  const { limiter, set, tasks, signal } = about;
  const limitRate = limiter === 'task' ? Math.round(set / tasks) : 0;
  const pattern = limiter === 'download' ? 'p2p' : 'source';
  try {
    for await (const event of host.download({ url, pattern, limitRate }, { signal })) {
      if (event.type === 'failed') throw new CodedError('ERR_INTERNAL', event.message);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function passed(hosts: readonly ClusterHost[], limiter: Limiter): Promise<number> {
  const all = await Promise.all(hosts.map(async (host) => (await host.status()).traffic));
  return all.reduce((sum, { linkReceivedBytes, originReceivedBytes }) => {
    return sum + (limiter === 'download' ? linkReceivedBytes : originReceivedBytes);
  }, 0);
}

/** What was broken off a moment ago may still be in use: it is left to the end of the cluster. */
async function forget(host: ClusterHost, task: string): Promise<void> {
  await host.forget(task).catch(() => undefined);
}
