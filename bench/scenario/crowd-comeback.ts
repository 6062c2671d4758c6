import { writeFile } from 'node:fs/promises';
import { constants, setPriority } from 'node:os';
import type { Clock } from '../../core/base/clock.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { eventually } from '../cluster/eventually.ts';
import {
  mainThreadCpuSeconds,
  mainThreadWaitSeconds,
  processCpuSeconds,
} from '../measure/process-usage.ts';
import type { CrowdProcess } from './crowd-process.ts';

/** What the new process of the supernode had taken at one moment, in seconds. */
export interface Spent {
  /** From its start; looked at every quarter of a second. */
  readonly at: number;
  /** CPU of all its threads. */
  readonly cpu: number;
  /** CPU of the thread that all hosts talk to. */
  readonly mainThreadCpu: number;
  /** How long that thread could have run and had no processor. */
  readonly mainThreadWaited: number;
  /** CPU of all hosts together, since the start of the supernode. */
  readonly hostsCpu: number;
}

/** A restart of the supernode: seconds from the start of the new process. */
export interface Comeback {
  /** When it answered on its HTTP port. */
  readonly serving: Spent;
  /** When it had taken in all that hosts hold which were downloading; undefined when not all came. */
  readonly runningBack: Spent | undefined;
  /** When it had taken in everything, or time was up. */
  readonly end: Spent;
  /** Until it had taken in all that each host holds, in order. */
  readonly hosts: readonly number[];
  /** The same of hosts that were downloading. */
  readonly running: readonly number[];
  readonly missing: number;
}

const WITHIN_MS = 60_000;
const LOOK_MS = 250;

interface ComebackParts {
  readonly cluster: Cluster;
  readonly processes: readonly CrowdProcess[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

type Returns = Pick<Comeback, 'hosts' | 'running' | 'missing'> & { readonly absent: number };

/**
 * Kills the supernode, starts it again at once, and waits for everybody to have told what he holds. From here on hosts
 * get what the supernode leaves of the processors: in a cell it has a machine of its own.
 */
export async function comeback(parts: ComebackParts): Promise<Comeback> {
  const { cluster, processes, clock, signal } = parts;
  const { supernode } = cluster;
  await Promise.all(processes.map(async ({ pid }) => yieldProcessors(pid)));
  const hostsCpu = await cpuOf(processes);
  await supernode.kill('SIGKILL');
  const sinceMs = clock.now();
  const spent = async (): Promise<Spent> => ({
    at: (clock.now() - sinceMs) / 1_000,
    ...(await spentBy(supernode.pid)),
    hostsCpu: (await cpuOf(processes)) - hostsCpu,
  });
  await supernode.start(signal);
  const serving = await spent();
  let runningBack: Spent | undefined;
  const isWhole = async (): Promise<true | undefined> => {
    const { missing, absent } = await returns(processes, sinceMs);
    if (absent === 0) runningBack ??= await spent();
    return missing === 0 ? true : undefined;
  };
  await eventually('all hosts back', isWhole, {
    withinMs: WITHIN_MS,
    everyMs: LOOK_MS,
    signal,
  }).catch((error: unknown) => {
    signal.throwIfAborted();
    // How many are missing is told in the result.
    void error;
  });
  const end = await spent();
  const { hosts, running, missing } = await returns(processes, sinceMs);
  return { serving, runningBack, end, hosts, running, missing };
}

async function returns(processes: readonly CrowdProcess[], sinceMs: number): Promise<Returns> {
  const answers = await Promise.all(
    processes.map(async (process) => process.order({ do: 'returned', sinceMs })),
  );
  const hosts = answers.flatMap((answer) => answer.hosts);
  const times = (of: typeof hosts): number[] =>
    of
      .flatMap(({ atMs }) => (atMs === undefined ? [] : [(atMs - sinceMs) / 1_000]))
      .toSorted((a, b) => a - b);
  const back = times(hosts);
  const downloading = hosts.filter(({ isRunning }) => isRunning);
  const running = times(downloading);
  return {
    hosts: back,
    running,
    missing: hosts.length - back.length,
    absent: downloading.length - running.length,
  };
}

async function spentBy(pid: number): Promise<Omit<Spent, 'at' | 'hostsCpu'>> {
  return {
    cpu: (await processCpuSeconds(pid)) ?? 0,
    mainThreadCpu: (await mainThreadCpuSeconds(pid)) ?? 0,
    mainThreadWaited: (await mainThreadWaitSeconds(pid)) ?? 0,
  };
}

async function yieldProcessors(pid: number): Promise<void> {
  const lowest = constants.priority.PRIORITY_LOW;
  setPriority(pid, lowest);
  // Where Linux shares processors out by session first, the above holds only within one; each process has its own here.
  await writeFile(`/proc/${pid}/autogroup`, String(lowest)).catch((error: unknown) => {
    // A kernel without that, or no Linux.
    void error;
  });
}

async function cpuOf(processes: readonly CrowdProcess[]): Promise<number> {
  const each = await Promise.all(
    processes.map(async ({ pid }) => (await processCpuSeconds(pid)) ?? 0),
  );
  return each.reduce((sum, cpu) => sum + cpu, 0);
}
