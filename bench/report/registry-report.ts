import { humanBytes } from '../../core/base/units.ts';
import { pieceLengthFor } from '../../core/piece/piece-length.ts';
import { median } from '../measure/median.ts';
import type { PullRun, PullWay, RegistryResult } from '../scenario/registry.ts';
import { fluidLimit, pieceLimit, quantile } from './swarm-limits.ts';
import { renderTable } from './table.ts';

/** Above this the machine's processors, not its links, may be what was measured. */
const VOID_SHARE = 0.6;
/** The promise is made of so many hosts; a registry alone cannot be beaten by so much with fewer. */
const PROMISED_HOSTS = 8;

/** All rounds of some hosts by one way; times in seconds. */
export interface RegistrySummary {
  readonly way: PullWay;
  readonly hosts: number;
  readonly p50: number;
  readonly max: number;
  /** Until all had it, of the middle round. */
  readonly all: number;
  /** What nobody can beat: alone at the goodput; by the registry the number of hosts times that; else as a swarm. */
  readonly limit: number;
  /** `all` over that of the way without a mirror. */
  readonly timesDirect: number;
  /** Of the round in which it sent most. */
  readonly registryCopies: number;
  readonly peerShare: number;
  /** Of the busiest round. */
  readonly machine: number;
  readonly others: number;
  readonly isVoid: boolean;
}

/** One promise, and what was measured. */
export interface RegistryBar {
  readonly what: string;
  readonly is: 'at most' | 'at least';
  readonly limit: number;
  readonly measured: number;
  /** It was measured while processors were busy. */
  readonly isVoid: boolean;
}

/** The figures of each way, of one host and of all. */
export function summarizeRegistry(result: RegistryResult): RegistrySummary[] {
  return [1, result.registry.hosts].flatMap((hosts) => {
    const of = (way: PullWay): PullRun[] =>
      result.runs.filter((run) => run.way === way && run.seconds.length === hosts);
    const base = untilAll(of('direct'));
    return (['direct', 'mirror'] as const).map((way) => summaryOf(result, of(way), base));
  });
}

function untilAll(runs: readonly PullRun[]): number {
  return median(runs.map(({ seconds }) => Math.max(...seconds)));
}

function summaryOf(
  result: RegistryResult,
  runs: readonly PullRun[],
  base: number,
): RegistrySummary {
  const { imageBytes } = result;
  const way = runs[0]?.way ?? 'direct';
  const hosts = runs[0]?.seconds.length ?? 0;
  const times = runs.flatMap(({ seconds }) => seconds);
  const all = untilAll(runs);
  const peerBytes = runs.reduce((sum, run) => sum + run.peerBytes, 0);
  const machine = Math.max(...runs.map(({ cpu }) => cpu.machine));
  return {
    way,
    hosts,
    p50: quantile(times, 0.5),
    max: quantile(times, 1),
    all,
    limit: limitOf(result, { way, hosts }),
    timesDirect: all / base,
    registryCopies: Math.max(...runs.map(({ registryBytes }) => registryBytes)) / imageBytes,
    peerShare: peerBytes / (imageBytes * times.length),
    machine,
    others: Math.max(...runs.map(({ cpu }) => cpu.others)),
    isVoid: machine > VOID_SHARE,
  };
}

function limitOf(
  { goodput, imageBytes, pieces }: RegistryResult,
  { way, hosts }: { readonly way: PullWay; readonly hosts: number },
): number {
  if (way === 'direct') return (hosts * imageBytes) / goodput;
  const link = { up: goodput, down: goodput };
  const all = Array.from({ length: hosts }, () => link);
  const shape = { length: imageBytes, pieces, sourceUp: goodput, hosts: all };
  return Math.max(fluidLimit(shape), pieceLimit(shape, { hosts, rate: goodput }));
}

/** What was promised. */
export function registryBars(result: RegistryResult): RegistryBar[] {
  const { hosts } = result.registry;
  const summaries = summarizeRegistry(result);
  const of = (count: number): RegistrySummary | undefined =>
    summaries.find((each) => each.way === 'mirror' && each.hosts === count);
  const bars: RegistryBar[] = [];
  // Void with either of the two that are compared.
  const isVoid = (count: number): boolean =>
    summaries.some((each) => each.hosts === count && each.isVoid);
  const alone = of(1);
  const together = of(hosts);
  if (alone !== undefined) {
    const what = 'one host cold, × direct';
    const measured = alone.timesDirect;
    bars.push({ what, is: 'at most', limit: 1.1, measured, isVoid: isVoid(1) });
  }
  if (together !== undefined && hosts >= PROMISED_HOSTS) {
    const what = `${hosts} hosts at once, × faster than direct`;
    const measured = 1 / together.timesDirect;
    bars.push({ what, is: 'at least', limit: 5, measured, isVoid: isVoid(hosts) });
  }
  if (together !== undefined) {
    const what = `last of ${hosts} hosts, × limit`;
    const measured = together.all / together.limit;
    bars.push({ what, is: 'at most', limit: 1.25, measured, isVoid: together.isVoid });
  }
  return [...bars, firstByteBar(result)];
}

/** A connection, and two first pieces at the rate of the link: to the supernode, and from it. */
function firstByteBar({ firstBytes, registry, goodput }: RegistryResult): RegistryBar {
  const direct = median(firstBytes.map((each) => each.direct));
  const roundTrip = median(firstBytes.map((each) => each.roundTrip));
  const pieces = (2 * Math.min(registry.blob, pieceLengthFor(registry.blob))) / goodput;
  const measured = median(firstBytes.map(({ mirror }) => mirror)) * 1000;
  const limit = (direct + 0.01 + roundTrip + pieces) * 1000;
  const isVoid = firstBytes.some(({ machine }) => machine > VOID_SHARE);
  const what = `first byte of ${humanBytes(registry.blob)} cold, ms`;
  return { what, is: 'at most', limit, measured, isVoid };
}

/** Everything as text. */
export function renderRegistry(result: RegistryResult): string {
  const summaries = summarizeRegistry(result);
  const voids = summaries
    .filter(({ isVoid }) => isVoid)
    .map(({ way, hosts, machine }) => {
      const busy = `the machine was ${percent(machine)} busy, ${percent(VOID_SHARE)} at most`;
      return `VOID as a result about networks: ${way} on ${hosts}, ${busy}\n`;
    });
  const parts = [caseLines(result), summaryTable(summaries), ...voids];
  return [...parts, barTable(registryBars(result))].join('\n');
}

function caseLines({ registry, goodput, imageBytes, pieces, firstBytes }: RegistryResult): string {
  const { hosts, layers, rate, rounds } = registry;
  const wire = (goodput * 8) / rate;
  const image = `${humanBytes(imageBytes)} in ${layers} layers`;
  const ms = (pick: (each: (typeof firstBytes)[number]) => number): string =>
    firstBytes.map((each) => (pick(each) * 1000).toFixed(1)).join(', ');
  return [
    `case        ${hosts} hosts, ${image}, ${rate / 1e6} Mbit/s each way, ${rounds} rounds`,
    `pieces      ${pieces}`,
    `goodput     ${((goodput * 8) / 1e6).toFixed(2)} Mbit/s of one TCP stream, ${percent(wire)} of the wire`,
    `first byte  direct ${ms(({ direct }) => direct)} ms; mirror ${ms(({ mirror }) => mirror)} ms; round trip ${ms(({ roundTrip }) => roundTrip)} ms`,
    '',
  ].join('\n');
}

function summaryTable(summaries: readonly RegistrySummary[]): string {
  const columns = ['who', 'hosts', 'p50 s', 'max s', 'all s', 'limit s', '× limit', '× direct'];
  columns.push('registry', 'peers', 'busy', 'others');
  const rows = summaries.map((each) => ({
    who: each.way,
    hosts: each.hosts,
    'p50 s': each.p50.toFixed(2),
    'max s': each.max.toFixed(2),
    'all s': each.all.toFixed(2),
    'limit s': each.limit.toFixed(2),
    '× limit': (each.all / each.limit).toFixed(2),
    '× direct': each.timesDirect.toFixed(2),
    registry: each.registryCopies.toFixed(2),
    peers: percent(each.peerShare),
    busy: percent(each.machine),
    others: percent(each.others),
  }));
  return renderTable(columns, rows);
}

function barTable(bars: readonly RegistryBar[]): string {
  const rows = bars.map(({ what, is, limit, measured, isVoid }) => {
    const isMet = is === 'at most' ? measured <= limit + 0.0005 : measured >= limit - 0.0005;
    const verdict = isMet ? 'met' : 'MISSED';
    return {
      promise: what,
      bar: `${is} ${limit.toFixed(2)}`,
      measured: measured.toFixed(3),
      verdict: isVoid ? 'VOID' : verdict,
    };
  });
  return renderTable(['promise', 'bar', 'measured', 'verdict'], rows);
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
