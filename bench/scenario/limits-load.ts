import type { Cluster } from '../cluster/cluster.ts';
import type { ClusterHost } from '../cluster/cluster-host.ts';
import { askJson } from '../cluster/local-api.ts';

/** The limiters that are measured, and what passes each. */
export const limiters = [
  'task',
  'task-origin',
  'download',
  'upload',
  'origin',
  'cell',
  'cell-origin',
] as const;
export type Limiter = (typeof limiters)[number];

/** Downloads that press against one limiter. */
export interface LimitLoad {
  /** Who downloads, in turn. */
  readonly takers: readonly ClusterHost[];
  /** Who has to have everything before; absent: nobody. */
  readonly giver?: ClusterHost;
  readonly pattern: 'p2p' | 'source';
  /** Bytes that passed so far. */
  passed(): Promise<number>;
  /** Sets the limit for all tasks together, 0 for none. */
  set(bytesPerSecond: number): Promise<void>;
}

type Counter = 'linkReceivedBytes' | 'linkSentBytes' | 'originReceivedBytes';

/** The first host is limited, or the whole cell; of an upload limit the others are the takers. */
export function loadOf(cluster: Cluster, limiter: Limiter): LimitLoad {
  const { hosts } = cluster;
  const first = cluster.host(1);
  const own = async (name: string, rate: number): Promise<void> => setOwn(first, { [name]: rate });
  const alone = { takers: [first] };
  switch (limiter) {
    case 'task':
      return {
        ...alone,
        pattern: 'p2p',
        passed: counting([first], 'linkReceivedBytes'),
        set: async (rate) => setTasks(first, rate),
      };
    case 'task-origin':
      return {
        ...alone,
        pattern: 'source',
        passed: counting([first], 'originReceivedBytes'),
        set: async (rate) => setTasks(first, rate),
      };
    case 'download':
      return {
        ...alone,
        pattern: 'p2p',
        passed: counting([first], 'linkReceivedBytes'),
        set: async (rate) => own('download', rate),
      };
    case 'upload':
      return {
        takers: hosts.slice(1),
        giver: first,
        pattern: 'p2p',
        passed: counting([first], 'linkSentBytes'),
        set: async (rate) => own('upload', rate),
      };
    case 'origin':
      return {
        ...alone,
        pattern: 'source',
        passed: counting([first], 'originReceivedBytes'),
        set: async (rate) => own('origin', rate),
      };
    case 'cell':
      return {
        takers: hosts,
        pattern: 'p2p',
        passed: counting(hosts, 'linkReceivedBytes'),
        set: async (rate) => setCell(cluster, { download: rate }),
      };
    case 'cell-origin':
      return {
        takers: hosts,
        pattern: 'source',
        passed: counting(hosts, 'originReceivedBytes'),
        set: async (rate) => setCell(cluster, { origin: rate }),
      };
  }
}

function counting(hosts: readonly ClusterHost[], counter: Counter): () => Promise<number> {
  return async () => {
    const all = await Promise.all(hosts.map(async (host) => (await host.status()).traffic));
    return all.reduce((sum, traffic) => sum + traffic[counter], 0);
  };
}

async function setOwn(host: ClusterHost, body: object): Promise<void> {
  await askJson({ socketPath: host.socket }, '/v1/limits', { method: 'PUT', body });
}

/** The same for each task that downloads now. */
async function setTasks(host: ClusterHost, rate: number): Promise<void> {
  const { tasks } = (await askJson({ socketPath: host.socket }, '/v1/limits')) as {
    tasks: { task: string }[];
  };
  const bytesPerSecond = Math.round(rate / Math.max(1, tasks.length));
  await setOwn(host, { tasks: tasks.map(({ task }) => ({ task, bytesPerSecond })) });
}

async function setCell(cluster: Cluster, body: object): Promise<void> {
  const { hostname, port } = new URL(cluster.apiUrl);
  await askJson({ host: hostname, port }, '/api/v1/limits', { method: 'PUT', body });
}
