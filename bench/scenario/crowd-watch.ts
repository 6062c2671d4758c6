import { SystemClock } from '../../core/base/clock.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { askApi } from '../cluster/local-api.ts';
import {
  machineCpuSeconds,
  mainThreadCpuSeconds,
  processCpuSeconds,
  processMemory,
} from '../measure/process-usage.ts';
import type { CrowdTraffic } from './crowd-messages.ts';
import type { CrowdProcess } from './crowd-process.ts';

/** What the supernode took in one state of the crowd; CPU in seconds, memory in bytes. */
export interface CrowdWindow {
  readonly name: string;
  readonly hosts: number;
  readonly seconds: number;
  readonly cpu: number;
  /** Of that the thread that all hosts talk to; the others fetch, hash and serve. */
  readonly mainThreadCpu: number;
  /** Of all hosts together. */
  readonly hostsCpu: number;
  /** Share of the machine's processors that was busy, whoever was. */
  readonly machine: number;
  readonly rss: number;
  /** Longest that the main thread was late. */
  readonly lagMs: number;
  /** Of all hosts: what they sent and received. */
  readonly traffic: CrowdTraffic;
}

interface Reading {
  readonly atMs: number;
  readonly cpu: number;
  readonly mainThreadCpu: number;
  readonly hostsCpu: number;
  readonly machine: { readonly busy: number; readonly all: number };
  readonly traffic: CrowdTraffic;
}

const clock = new SystemClock();

/** Watches the supernode of a crowd. */
export class CrowdWatch {
  readonly #cluster: Cluster;
  readonly #processes: readonly CrowdProcess[];

  constructor(parts: { readonly cluster: Cluster; readonly processes: readonly CrowdProcess[] }) {
    this.#cluster = parts.cluster;
    this.#processes = parts.processes;
  }

  /** Begins a window, which may lie in another; its end tells what was taken. */
  async start(name: string, hosts: number): Promise<{ end(): Promise<CrowdWindow> }> {
    await this.#lagMs();
    const before = await this.#read();
    return {
      end: async () => {
        const after = await this.#read();
        const memory = await processMemory(this.#cluster.supernode.pid);
        return {
          name,
          hosts,
          ...difference(before, after),
          rss: memory?.rss ?? 0,
          lagMs: await this.#lagMs(),
        };
      },
    };
  }

  async #read(): Promise<Reading> {
    const { pid } = this.#cluster.supernode;
    const answers = await Promise.all(
      this.#processes.map(async (process) => process.order({ do: 'traffic' })),
    );
    const hosts = await Promise.all(
      this.#processes.map(async (process) => processCpuSeconds(process.pid)),
    );
    return {
      atMs: clock.monotonic(),
      cpu: (await processCpuSeconds(pid)) ?? 0,
      mainThreadCpu: (await mainThreadCpuSeconds(pid)) ?? 0,
      hostsCpu: hosts.reduce<number>((sum, cpu) => sum + (cpu ?? 0), 0),
      machine: (await machineCpuSeconds()) ?? { busy: 0, all: 0 },
      traffic: answers.reduce((sum, one) => mapTraffic(sum, one, (a, b) => a + b)),
    };
  }

  /** The longest since it was asked the last time. */
  async #lagMs(): Promise<number> {
    const { hostname: host, port } = new URL(this.#cluster.apiUrl);
    const { text } = await askApi({ host, port }, '/metrics');
    const value = /^\w*event_loop_lag_seconds (\S+)$/m.exec(text)?.[1];
    return Number(value ?? Number.NaN) * 1_000;
  }
}

function difference(
  before: Reading,
  after: Reading,
): Omit<CrowdWindow, 'name' | 'hosts' | 'rss' | 'lagMs'> {
  const all = after.machine.all - before.machine.all;
  return {
    seconds: (after.atMs - before.atMs) / 1_000,
    cpu: after.cpu - before.cpu,
    mainThreadCpu: after.mainThreadCpu - before.mainThreadCpu,
    hostsCpu: after.hostsCpu - before.hostsCpu,
    machine: all === 0 ? 0 : (after.machine.busy - before.machine.busy) / all,
    traffic: mapTraffic(after.traffic, before.traffic, (a, b) => a - b),
  };
}

function mapTraffic(
  one: CrowdTraffic,
  other: CrowdTraffic,
  by: (one: number, other: number) => number,
): CrowdTraffic {
  return {
    sentMessages: by(one.sentMessages, other.sentMessages),
    sentBytes: by(one.sentBytes, other.sentBytes),
    receivedMessages: by(one.receivedMessages, other.receivedMessages),
    receivedBytes: by(one.receivedBytes, other.receivedBytes),
  };
}
