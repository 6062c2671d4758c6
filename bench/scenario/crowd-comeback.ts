import type { Clock } from '../../core/base/clock.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { eventually } from '../cluster/eventually.ts';
import { processCpuSeconds } from '../measure/process-usage.ts';
import type { CrowdProcess } from './crowd-process.ts';

/** A restart of the supernode: seconds from the start of the new process. */
export interface Comeback {
  /** Until it answered on its HTTP port. */
  readonly serving: number;
  /** Until it had taken in all that each host holds, in order. */
  readonly hosts: readonly number[];
  /** The same of hosts that were downloading. */
  readonly running: readonly number[];
  readonly missing: number;
  /** CPU seconds of the supernode until then. */
  readonly cpu: number;
}

const WITHIN_MS = 60_000;
const LOOK_MS = 250;

/** Kills the supernode, starts it again at once, and waits for everybody to have told what he holds. */
export async function comeback(parts: {
  readonly cluster: Cluster;
  readonly processes: readonly CrowdProcess[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}): Promise<Comeback> {
  const { cluster, processes, clock, signal } = parts;
  const { supernode } = cluster;
  await supernode.kill('SIGKILL');
  const sinceMs = clock.now();
  await supernode.start(signal);
  const serving = (clock.now() - sinceMs) / 1_000;
  const look = async (): Promise<Omit<Comeback, 'serving' | 'cpu'>> => {
    const answers = await Promise.all(
      processes.map(async (process) => process.order({ do: 'returned', sinceMs })),
    );
    const hosts = answers.flatMap((answer) => answer.hosts);
    const times = (of: typeof hosts): number[] =>
      of
        .flatMap(({ atMs }) => (atMs === undefined ? [] : [(atMs - sinceMs) / 1_000]))
        .toSorted((a, b) => a - b);
    const back = times(hosts);
    const running = times(hosts.filter(({ isRunning }) => isRunning));
    return { hosts: back, running, missing: hosts.length - back.length };
  };
  const isWhole = async (): Promise<true | undefined> =>
    (await look()).missing === 0 ? true : undefined;
  await eventually('all hosts back', isWhole, {
    withinMs: WITHIN_MS,
    everyMs: LOOK_MS,
    signal,
  }).catch((error: unknown) => {
    signal.throwIfAborted();
    // How many are missing is told in the result.
    void error;
  });
  return { serving, ...(await look()), cpu: (await processCpuSeconds(supernode.pid)) ?? 0 };
}
