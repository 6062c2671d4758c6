import { humanBytes } from '../../core/base/units.ts';
import { median } from '../measure/median.ts';
import { contenders } from '../scenario/single.ts';
import type { Contender, Sample, SingleResult } from '../scenario/single.ts';
import { renderTable } from './table.ts';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
/** Below this the CPU clock of the kernel, 10 ms, says nothing about one download. */
const CPU_FROM_BYTES = 10 * 1024 * 1024;

/** What a machine at rest does for itself. */
const QUIET_SHARE = 0.05;

/** The medians of one contender at one size. */
export interface SingleSummary {
  readonly size: number;
  readonly contender: Contender;
  readonly rounds: number;
  readonly seconds: number;
  readonly slowest: number;
  /** Wall time as a multiple of curl's; undefined without curl. */
  readonly timesCurl: number | undefined;
  /** All processes together, per GiB moved; undefined where the size is too small to tell. */
  readonly cpuPerGib: number | undefined;
  /** The same by who: each program by name, and the command itself. */
  readonly cpuPerGibBy: Readonly<Record<string, number>>;
  /** Share of all processors that was busy, 0 to 1. */
  readonly machine: number;
  /** The part of it that had nothing to do with this. */
  readonly others: number;
}

/** One promise, and what was measured. */
export interface Bar {
  readonly what: string;
  readonly limit: number;
  readonly measured: number;
  readonly unit: string;
}

/** Medians by size and contender. */
export function summarize(samples: readonly Sample[]): SingleSummary[] {
  const sizes = [...new Set(samples.map(({ size }) => size))];
  return sizes.flatMap((size) => {
    const ofSize = samples.filter((sample) => sample.size === size);
    const curl = median(secondsOf(ofSize.filter(({ contender }) => contender === 'curl')));
    return contenders.flatMap((contender) => {
      const own = ofSize.filter((sample) => sample.contender === contender);
      return own.length === 0 ? [] : [summaryOf(own, { size, contender, curl })];
    });
  });
}

/** What was promised of the sizes that were run, and of the place: a lab, or this machine alone. */
export function barsOf(result: SingleResult): Bar[] {
  return result.rate > 0 ? labBars(result) : machineBars(result);
}

function labBars(result: SingleResult): Bar[] {
  const summaries = summarize(result.samples);
  return [100 * MIB, GIB].flatMap((size) => {
    const find = (contender: Contender): number | undefined =>
      summaries.find((each) => each.size === size && each.contender === contender)?.seconds;
    const [curl, cold, second] = [find('curl'), find('dfget cold'), find('dfget second host')];
    if (curl === undefined || cold === undefined || second === undefined) return [];
    const what = humanBytes(size);
    return [
      { what: `${what} cold, one host`, limit: 1.2 * curl + 0.15, measured: cold, unit: 's' },
      { what: `${what} to a second host`, limit: 1.1 * curl, measured: second, unit: 's' },
    ];
  });
}

function machineBars(result: SingleResult): Bar[] {
  const summaries = summarize(result.samples);
  const find = (size: number, contender: Contender): SingleSummary | undefined =>
    summaries.find((each) => each.size === size && each.contender === contender);
  const bars: Bar[] = [];
  const warm = find(GIB, 'dfget warm');
  if (warm?.timesCurl !== undefined) {
    bars.push({
      what: '1 GiB warm, same host',
      limit: 1.3,
      measured: warm.timesCurl,
      unit: "× curl's wall",
    });
  }
  const second = find(GIB, 'dfget second host');
  if (second !== undefined) {
    const { cpuPerGibBy } = second;
    const daemons = (cpuPerGibBy['host-1'] ?? 0) + (cpuPerGibBy['host-2'] ?? 0);
    const limit = 4 + (find(GIB, 'write')?.cpuPerGib ?? 0);
    const unit = 'CPU-s per GiB';
    bars.push({ what: '1 GiB to a second host, both daemons', limit, measured: daemons, unit });
    const all = daemons + (cpuPerGibBy['supernode'] ?? 0);
    bars.push({ what: 'the same with the supernode', limit, measured: all, unit });
  }
  const startMs = median(result.tinyStartMs);
  bars.push({
    what: '1 byte warm, whole dfget process',
    limit: 120,
    measured: startMs,
    unit: 'ms',
  });
  const measured = median(result.localApiMs);
  bars.push({ what: '1 byte warm, local API', limit: 5, measured, unit: 'ms' });
  return bars;
}

/** The whole report as text. */
export function renderSingle(result: SingleResult): string {
  const parts = [machineLines(result), summaryTable(result), barLines(barsOf(result))];
  const others = median(result.samples.map(({ cpu }) => cpu.others));
  if (others > QUIET_SHARE) {
    const share = `${Math.round(others * 100)} %`;
    parts.push(`Other programs took ${share} of this machine: these figures are too high.\n`);
  }
  if (result.missing.length > 0) parts.push(`not on this machine: ${result.missing.join(', ')}\n`);
  return parts.join('\n');
}

function summaryOf(
  samples: readonly Sample[],
  of: { size: number; contender: Contender; curl: number },
): SingleSummary {
  const { size, contender, curl } = of;
  const seconds = median(secondsOf(samples));
  const perGib = (pick: (sample: Sample) => number): number =>
    (median(samples.map(pick)) * GIB) / size;
  const names = Object.keys(samples[0]?.cpu.programs ?? {});
  const isTellable = size >= CPU_FROM_BYTES;
  const by: Record<string, number> = {};
  if (isTellable) {
    for (const name of names) by[name] = perGib((sample) => sample.cpu.programs[name] ?? 0);
    by['command'] = perGib((sample) => sample.cpu.commands);
  }
  return {
    size,
    contender,
    rounds: samples.length,
    seconds,
    slowest: Math.max(...secondsOf(samples)),
    timesCurl: Number.isNaN(curl) ? undefined : seconds / curl,
    cpuPerGib: isTellable ? perGib((sample) => sample.cpu.total) : undefined,
    cpuPerGibBy: by,
    machine: median(samples.map(({ cpu }) => cpu.machine)),
    others: median(samples.map(({ cpu }) => cpu.others)),
  };
}

function summaryTable(result: SingleResult): string {
  const columns = ['size', 'what', 'rounds', 'wall s', 'slowest', '× curl', 'CPU-s/GiB'];
  const shares = ['command', 'host-1', 'host-2', 'supernode', 'origin'];
  const rows = summarize(result.samples).map((each) => ({
    size: humanBytes(each.size),
    what: each.contender,
    rounds: each.rounds,
    'wall s': each.seconds.toFixed(3),
    slowest: each.slowest.toFixed(3),
    '× curl': each.timesCurl?.toFixed(2),
    'CPU-s/GiB': each.cpuPerGib?.toFixed(2),
    ...Object.fromEntries(shares.map((name) => [name, each.cpuPerGibBy[name]?.toFixed(2)])),
    'machine busy': `${Math.round(each.machine * 100)} %`,
    others: `${Math.round(each.others * 100)} %`,
  }));
  return renderTable([...columns, ...shares, 'machine busy', 'others'], rows);
}

function machineLines({ rate: linkRate, machine, bareNodeMs, tinyStartMs }: SingleResult): string {
  const bareMs = median(bareNodeMs);
  const times = (median(tinyStartMs) / bareMs).toFixed(2);
  const place =
    linkRate > 0
      ? `lab         ${linkRate / 1e6} Mbit/s each way for origin, supernode and both hosts`
      : `bare Node   ${bareMs.toFixed(0)} ms from start to end; dfget for 1 warm byte takes ${times} × that`;
  return [
    `machine     ${machine.processors} × ${machine.model}`,
    `sha256      ${rate(machine.sha256Rate)} on one core`,
    `file write  ${rate(machine.writeRate)} to the cache, ${rate(machine.syncedWriteRate)} to the disk`,
    place,
    '',
  ].join('\n');
}

function barLines(bars: readonly Bar[]): string {
  const rows = bars.map(({ what, limit, measured, unit }) => ({
    promise: what,
    'at most': Number(limit.toFixed(2)),
    measured: measured.toFixed(2),
    unit,
    verdict: measured <= limit ? 'met' : 'MISSED',
  }));
  return renderTable(['promise', 'at most', 'measured', 'unit', 'verdict'], rows);
}

function rate(bytesPerSecond: number): string {
  return `${humanBytes(bytesPerSecond)}/s`;
}

function secondsOf(samples: readonly Sample[]): number[] {
  return samples.map(({ seconds }) => seconds);
}
