import { readFile } from 'node:fs/promises';

/** CPU times in /proc count in hundredths of a second on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const KIB = 1024;

/** Memory of a process in bytes. */
export interface ProcessMemory {
  /** All resident pages, those shared with other processes in full. */
  readonly rss: number;
  /** Resident pages that belong to no file. */
  readonly rssAnon: number;
  /** Resident pages, each divided by the number of processes that share it. */
  readonly pss: number;
  /** The most `rss` ever was. */
  readonly peakRss: number;
}

/** Memory of a running process, as Linux counts it; undefined when it is gone or this is no Linux. */
export async function processMemory(pid: number): Promise<ProcessMemory | undefined> {
  const [status, rollup] = await Promise.all([
    procFile(pid, 'status'),
    procFile(pid, 'smaps_rollup'),
  ]);
  if (status === undefined || rollup === undefined) return undefined;
  const bytes = {
    rss: kibField(status, 'VmRSS'),
    rssAnon: kibField(status, 'RssAnon'),
    pss: kibField(rollup, 'Pss'),
    peakRss: kibField(status, 'VmHWM'),
  };
  // A process that is going away has files, but nothing in them.
  return bytes.rss === 0 ? undefined : bytes;
}

/** CPU seconds, user and system, of all threads of a process so far; undefined as for `processMemory`. */
export async function processCpuSeconds(pid: number): Promise<number | undefined> {
  const fields = await statFields(pid);
  return fields === undefined ? undefined : seconds(fields[11]) + seconds(fields[12]);
}

/** The same of its main thread alone. */
export async function mainThreadCpuSeconds(pid: number): Promise<number | undefined> {
  const fields = await statFields(`${pid}/task/${pid}`);
  return fields === undefined ? undefined : seconds(fields[11]) + seconds(fields[12]);
}

/** Seconds in which the main thread could have run and had no processor; undefined as for `processMemory`. */
export async function mainThreadWaitSeconds(pid: number): Promise<number | undefined> {
  const waited = (await procFile(pid, `task/${pid}/schedstat`))?.split(' ')[1];
  return waited === undefined ? undefined : Number(waited) / 1e9;
}

/** CPU seconds of all children of this process that have ended, their children included. */
export async function endedChildrenCpuSeconds(): Promise<number | undefined> {
  const fields = await statFields('self');
  return fields === undefined ? undefined : seconds(fields[13]) + seconds(fields[14]);
}

/** Busy and whole CPU seconds of the machine since it started, all processors together. */
export async function machineCpuSeconds(): Promise<{ busy: number; all: number } | undefined> {
  const text = await textOf('/proc/stat');
  // user nice system idle iowait irq softirq steal; the guest times behind them are part of user.
  const times = text?.split('\n', 1)[0]?.trim().split(/\s+/).slice(1, 9).map(seconds);
  if (times === undefined) return undefined;
  const all = times.reduce((sum, time) => sum + time, 0);
  return { busy: all - (times[3] ?? 0) - (times[4] ?? 0), all };
}

/** What some running processes, and the commands run meanwhile, took. */
export interface CpuUse {
  /** CPU seconds by the name given to each process. */
  readonly programs: Readonly<Record<string, number>>;
  /** CPU seconds of commands that were started and ended meanwhile. */
  readonly commands: number;
  /** All of it. */
  readonly total: number;
  /** Share of the machine's processors that was busy, whoever was, 0 to 1. */
  readonly machine: number;
  /** The part of `machine` that was none of these: what is measured beside it is slower than it could be. */
  readonly others: number;
}

/** Runs `work` and counts the CPU that `programs` (process numbers by name) and commands took for it. */
export async function withCpuUse<T>(
  programs: Readonly<Record<string, number>>,
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly cpu: CpuUse }> {
  const before = await cpuReading(programs);
  const result = await work();
  const after = await cpuReading(programs);
  const used = Object.fromEntries(
    Object.entries(after.programs).map(([name, time]) => [
      name,
      time - (before.programs[name] ?? 0),
    ]),
  );
  const commands = after.commands - before.commands;
  const total = Object.values(used).reduce((sum, time) => sum + time, commands);
  const all = after.machine.all - before.machine.all;
  const busy = after.machine.busy - before.machine.busy;
  const share = (time: number): number => (all === 0 ? 0 : Math.max(0, time) / all);
  const shares = { machine: share(busy), others: share(busy - total) };
  return { result, cpu: { programs: used, commands, total, ...shares } };
}

async function cpuReading(pids: Readonly<Record<string, number>>): Promise<{
  programs: Record<string, number>;
  commands: number;
  machine: { busy: number; all: number };
}> {
  const programs: Record<string, number> = {};
  for (const [name, pid] of Object.entries(pids)) {
    programs[name] = (await processCpuSeconds(pid)) ?? 0;
  }
  const commands = (await endedChildrenCpuSeconds()) ?? 0;
  return { programs, commands, machine: (await machineCpuSeconds()) ?? { busy: 0, all: 0 } };
}

/** The fields of /proc/PID/stat after the name, which may hold anything: the first is the state. */
async function statFields(pid: number | string): Promise<string[] | undefined> {
  const text = await procFile(pid, 'stat');
  return text?.slice(text.lastIndexOf(')') + 2).split(' ');
}

async function procFile(pid: number | string, name: string): Promise<string | undefined> {
  return textOf(`/proc/${pid}/${name}`);
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
}

function kibField(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s*(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0) * KIB;
}

function seconds(ticks: string | undefined): number {
  return Number(ticks ?? 0) / TICKS_PER_SECOND;
}
