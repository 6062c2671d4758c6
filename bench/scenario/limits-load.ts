import type { Cluster } from '../cluster/cluster.ts';
import type { ClusterHost } from '../cluster/cluster-host.ts';
import { askJson } from '../cluster/local-api.ts';
import { setCell } from './supernode-orders.ts';

/** The limiters that are measured, and what passes each; of `combined` several are set to the same. */
export const limiters = [
  'task',
  'task-origin',
  'download',
  'upload',
  'origin',
  'origin-host',
  'cell',
  'cell-origin',
  'cell-origin-host',
  'between',
  'combined',
  'combined-origin',
] as const;
export type Limiter = (typeof limiters)[number];

/** The supernode stands in one, all hosts in the other. */
export const IDCS = { from: 'east', to: 'west' } as const;
/** Of a cell, bytes per second. */
export const LEAST_BUDGET = 65_536;

/** Downloads that press against one limiter. */
export interface LimitLoad {
  /** Who downloads, in turn. */
  readonly takers: readonly ClusterHost[];
  /** Who has to have everything before; absent: nobody. */
  readonly giver?: ClusterHost;
  readonly pattern: 'p2p' | 'source';
  /** True when each download is begun with its part of the rate as its own limit. */
  readonly isOfTasks: boolean;
  /** True when the origin has to be at the address that has a limit of its own. */
  readonly isOfAddress: boolean;
  /** False when it cannot be changed while programs run, or takes too long to be measured again. */
  readonly canChange: boolean;
  readonly settleMs: number;
  readonly windows: number;
  /** Bytes that passed so far. */
  passed(): Promise<number>;
  /** Sets the limit for all tasks together, 0 for none. */
  set(bytesPerSecond: number): Promise<void>;
}

type Counter = 'linkReceivedBytes' | 'linkSentBytes' | 'originReceivedBytes';

/** How long each window is. */
export const WINDOW_MS = 2_000;
/** The cell's share comes in steps of half a second, from an idle host's to all of it. */
const CELL_SETTLE_MS = 6_000;

/** The address of an origin for which the first host has the rate with this number. */
export function limitedAddress(at: number): string {
  return `127.0.1.${at + 1}`;
}

/** The first host is limited, or the whole cell; of an upload limit the others are the takers. */
export function loadOf(cluster: Cluster, limiter: Limiter, address: string): LimitLoad {
  const { hosts } = cluster;
  const first = cluster.host(1);
  const own = async (name: string, rate: number): Promise<void> => setOwn(first, { [name]: rate });
  const links = {
    takers: [first],
    pattern: 'p2p',
    isOfTasks: false,
    isOfAddress: false,
    canChange: true,
    settleMs: 2_000,
    windows: 3,
    passed: counting([first], 'linkReceivedBytes'),
  } as const;
  const origins = {
    ...links,
    pattern: 'source',
    passed: counting([first], 'originReceivedBytes'),
  } as const;
  switch (limiter) {
    case 'task':
      return { ...links, isOfTasks: true, set: async (rate) => setTasks(first, rate) };
    case 'task-origin':
      return { ...origins, isOfTasks: true, set: async (rate) => setTasks(first, rate) };
    case 'download':
      return { ...links, set: async (rate) => own('download', rate) };
    case 'upload':
      return {
        ...links,
        takers: hosts.slice(1),
        giver: first,
        passed: counting([first], 'linkSentBytes'),
        set: async (rate) => own('upload', rate),
      };
    case 'origin':
      return { ...origins, set: async (rate) => own('origin', rate) };
    case 'origin-host':
      return { ...origins, isOfAddress: true, canChange: false, set: async () => undefined };
    case 'cell':
      return {
        ...links,
        settleMs: CELL_SETTLE_MS,
        takers: hosts,
        passed: counting(hosts, 'linkReceivedBytes'),
        set: async (rate) => setCell(cluster, { download: rate }),
      };
    case 'cell-origin':
    case 'cell-origin-host':
      return {
        ...origins,
        settleMs: CELL_SETTLE_MS,
        // The limit that the first host has of its own for that address is not to be what holds.
        takers: limiter === 'cell-origin' ? hosts : hosts.slice(1),
        isOfAddress: limiter === 'cell-origin-host',
        passed: counting(hosts, 'originReceivedBytes'),
        set: async (rate) =>
          setCell(
            cluster,
            limiter === 'cell-origin' ? { origin: rate } : { originHosts: { [address]: rate } },
          ),
      };
    case 'between':
      return {
        ...links,
        settleMs: CELL_SETTLE_MS,
        canChange: false,
        takers: hosts,
        passed: counting(hosts, 'linkReceivedBytes'),
        set: async (rate) => setCell(cluster, { between: { [`${IDCS.from}|${IDCS.to}`]: rate } }),
      };
    case 'combined':
      return {
        ...links,
        settleMs: CELL_SETTLE_MS,
        isOfTasks: true,
        canChange: false,
        set: async (rate) => {
          await own('download', rate);
          await setCell(cluster, { download: rate });
        },
      };
    case 'combined-origin':
      return {
        ...origins,
        settleMs: CELL_SETTLE_MS,
        isOfTasks: true,
        isOfAddress: true,
        canChange: false,
        set: async (rate) => {
          await own('origin', rate);
          await setCell(cluster, { origin: rate });
        },
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
  if (tasks.length === 0) return;
  const bytesPerSecond = Math.round(rate / tasks.length);
  await setOwn(host, { tasks: tasks.map(({ task }) => ({ task, bytesPerSecond })) });
}
