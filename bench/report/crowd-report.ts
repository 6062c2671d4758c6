import { humanBytes } from '../../core/base/units.ts';
import type { Comeback, Spent } from '../scenario/crowd-comeback.ts';
import type { CrowdWindow } from '../scenario/crowd-watch.ts';
import type { CrowdResult } from '../scenario/crowd.ts';
import { quantile } from './swarm-limits.ts';
import { renderTable } from './table.ts';

/** One promise, and what was measured; undefined: nothing could be measured. */
export interface CrowdBar {
  readonly what: string;
  readonly unit: string;
  readonly limit: number;
  readonly measured: number | undefined;
}

/** Above this share of a processor the main thread, and above this share of the machine that, bounds the run. */
const BUSY_SHARE = 0.9;
const CURVE_SECONDS = [1, 2, 3, 4, 5, 7.5, 10, 15, 20];

/** What was promised for a thousand hosts. */
export function crowdBars(result: CrowdResult): CrowdBar[] {
  const { cuts, comeback } = result;
  const offers = cuts.map(({ kind, lastOfferMs, offeredBefore }) => ({
    what: `last offer of a ${kind} host after its first child noticed`,
    unit: 's',
    limit: 3,
    measured: offeredBefore === 0 ? undefined : (lastOfferMs ?? 0) / 1_000,
  }));
  const whole = comeback.missing > 0 ? Number.POSITIVE_INFINITY : comeback.hosts.at(-1);
  return [
    ...offers,
    {
      what: 'restart: hosts with running tasks',
      unit: 's',
      limit: 5,
      measured: comeback.running.at(-1),
    },
    { what: 'restart: everything that hosts hold', unit: 's', limit: 20, measured: whole },
  ];
}

/** All of it as text. */
export function renderCrowd(result: CrowdResult): string {
  const { crowd, failed } = result;
  const processes = Math.ceil(crowd.hosts / crowd.hostsPerProcess);
  const title = `${crowd.hosts} hosts in ${processes} processes, one supernode, one task of ${crowd.pieces} pieces in ${crowd.takeSeconds} s each`;
  return [
    title,
    '',
    renderMemory(result),
    renderTable(
      ['supernode', 'hosts', 'CPU', 'main thread', 'per host and s', 'late', 'RSS', 'machine'],
      result.windows.map(windowRow),
    ),
    renderTable(
      ['a host in a second', 'sends', 'bytes sent', 'receives', 'bytes received'],
      result.windows.map(trafficRow),
    ),
    renderTable(['milliseconds', 'p50', 'p99', 'max', 'n'], latencyRows(result)),
    renderCuts(result),
    renderComeback(result.comeback),
    renderTable(
      ['promise', 'limit', 'measured', ''],
      crowdBars(result).map(({ what, unit, limit, measured }) => ({
        promise: what,
        limit: `${limit} ${unit}`,
        measured: measured === undefined ? 'unknown' : `${measured.toFixed(2)} ${unit}`,
        '': measured !== undefined && measured <= limit ? 'kept' : 'MISSED',
      })),
    ),
    ...(failed === 0 ? [] : [`${failed} hosts did not come to have everything`]),
    `Bounded by: ${boundOf(result.windows)}`,
  ].join('\n');
}

function renderMemory({ memory, crowd }: CrowdResult): string {
  const { empty, connected, peak } = memory;
  const each = humanBytes((connected - empty) / crowd.hosts);
  return `Supernode RSS: ${humanBytes(empty)} empty, ${humanBytes(connected)} with all connected (${each} a host), ${humanBytes(peak)} at most.\n`;
}

function windowRow(window: CrowdWindow): Record<string, string | number> {
  const { name, hosts, seconds, cpu, mainThreadCpu, lagMs, rss, machine } = window;
  return {
    supernode: name,
    hosts,
    CPU: percent(cpu / seconds),
    'main thread': percent(mainThreadCpu / seconds),
    'per host and s': `${((mainThreadCpu / seconds / hosts) * 1e6).toFixed(0)} µs`,
    late: `${lagMs.toFixed(0)} ms`,
    RSS: humanBytes(rss),
    machine: percent(machine),
  };
}

function trafficRow({ name, hosts, seconds, traffic }: CrowdWindow): Record<string, string> {
  const each = (value: number): string => (value / hosts / seconds).toFixed(2);
  return {
    'a host in a second': name,
    sends: each(traffic.sentMessages),
    'bytes sent': each(traffic.sentBytes),
    receives: each(traffic.receivedMessages),
    'bytes received': each(traffic.receivedBytes),
  };
}

function latencyRows({ connectMs, registerMs }: CrowdResult): Record<string, string | number>[] {
  const rows: [string, readonly number[]][] = [
    ['join and connect', connectMs],
    ['register, most hosts at once', registerMs.atOnce],
    ['register, one host after the other', registerMs.spread],
  ];
  return rows.map(([milliseconds, values]) => ({
    milliseconds,
    p50: quantile(values, 0.5).toFixed(1),
    p99: quantile(values, 0.99).toFixed(1),
    max: Math.max(...values).toFixed(1),
    n: values.length,
  }));
}

function renderCuts({ cuts }: CrowdResult): string {
  return renderTable(
    ['a host is', 'offered before', 'last offer', 'asked after'],
    cuts.map(({ kind, offeredBefore, askedBefore, lastOfferMs, askedAfter }) => ({
      'a host is': kind,
      'offered before': `${offeredBefore} of ${askedBefore}`,
      'last offer': lastOfferMs === undefined ? 'never' : `${lastOfferMs.toFixed(0)} ms`,
      'asked after': askedAfter,
    })),
  );
}

function renderComeback({ serving, runningBack, end, ...back }: Comeback): string {
  const { hosts, running, missing } = back;
  const table = renderTable(
    ['seconds', 'hosts back', 'of those that download'],
    CURVE_SECONDS.map((seconds) => ({
      seconds,
      'hosts back': countUntil(hosts, seconds),
      'of those that download': countUntil(running, seconds),
    })),
  );
  const last = hosts.at(-1)?.toFixed(2) ?? 'never';
  const lastRunning = running.at(-1)?.toFixed(2) ?? 'never';
  const spent = renderTable(
    ['until', 'seconds', 'main thread', 'it waited', 'all threads', 'hosts'],
    [
      spentRow('serving', serving),
      ...(runningBack === undefined ? [] : [spentRow('all that download back', runningBack)]),
      spentRow('the end', end),
    ],
  );
  return [
    `Restart: all that download back after ${lastRunning} s, all after ${last} s (${missing} missing).`,
    table,
    'CPU seconds since the start of the supernode; "waited" is for a processor, which on a machine of its own it has.',
    spent,
  ].join('\n');
}

function spentRow(until: string, spent: Spent): Record<string, string> {
  return {
    until,
    seconds: spent.at.toFixed(2),
    'main thread': spent.mainThreadCpu.toFixed(2),
    'it waited': spent.mainThreadWaited.toFixed(2),
    'all threads': spent.cpu.toFixed(2),
    hosts: spent.hostsCpu.toFixed(2),
  };
}

function countUntil(times: readonly number[], end: number): number {
  return times.filter((time) => time <= end).length;
}

function boundOf(windows: readonly CrowdWindow[]): string {
  const busiest = windows.reduce((most, each) =>
    each.mainThreadCpu / each.seconds > most.mainThreadCpu / most.seconds ? each : most,
  );
  const share = busiest.mainThreadCpu / busiest.seconds;
  const full = windows.filter(({ machine }) => machine >= BUSY_SHARE).map(({ name }) => name);
  const thread = `the supernode's main thread was busy for ${percent(share)} of "${busiest.name}"`;
  const machine =
    full.length === 0
      ? 'the machine had processors to spare throughout'
      : `this machine's processors, shared with the hosts, were all busy in: ${full.join('; ')}`;
  return `${thread}; ${machine}.`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
