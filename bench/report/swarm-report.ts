import { humanBytes } from '../../core/base/units.ts';
import type { HostRun, SwarmContender, SwarmResult, SwarmRun } from '../scenario/swarm.ts';
import { fluidLimit, overOneStream, pieceLimit, quantile, survivorLimit } from './swarm-limits.ts';
import { renderTable } from './table.ts';

const GIB = 1024 ** 3;
/** Above this the machine's processors, not its links, may be what was measured. */
const VOID_SHARE = 0.6;

/** One run in figures; times in seconds, shares and ratios as numbers. */
export interface SwarmSummary {
  readonly contender: SwarmContender;
  readonly hosts: number;
  /** Of the middle host, until its dfdaemon had the order; in `p50` to `max` too. */
  readonly started: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  readonly fluidLimit: number;
  readonly limit: number;
  /** Each over `limit`. */
  readonly ratios: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly originCopies: number | undefined;
  readonly seedShare: number | undefined;
  readonly duplicateShare: number | undefined;
  readonly copiesBetweenIdcs: number | undefined;
  /** What came over the links, over what one TCP stream needs for the same. */
  readonly wire: number | undefined;
  /** Without the kernel's work in the network, which belongs to no process. */
  readonly cpuPerGib: number;
  /** Share of all processors that was busy. */
  readonly machine: number;
  readonly others: number;
  /** The run says nothing about networks. */
  readonly isVoid: boolean;
}

/** One promise, and what was measured. */
export interface SwarmBar {
  readonly what: string;
  readonly limit: number;
  readonly measured: number;
}

/** The figures of every run. */
export function summarizeSwarm(result: SwarmResult): SwarmSummary[] {
  return result.runs.map((run) => summaryOf(result, run));
}

function summaryOf(result: SwarmResult, run: SwarmRun): SwarmSummary {
  const { swarm } = result;
  const judged = judgedHosts(result, run);
  const times = judged.flatMap(({ seconds }) => (seconds === undefined ? [] : [seconds]));
  const limits = limitsOf(result, run);
  const [p50, p99, max] = [0.5, 0.99, 1].map((share) => quantile(times, share));
  const taken = run.hosts.filter(({ seconds }) => seconds !== undefined);
  const bytes = taken.length * swarm.size;
  const sum = (pick: (host: HostRun) => number): number =>
    taken.reduce((total, host) => total + pick(host), 0);
  const isOurs = run.contender.startsWith('dfget');
  const { harness = 0 } = run.cpu.programs;
  return {
    contender: run.contender,
    hosts: run.hosts.length,
    started: quantile(
      run.hosts.map(({ started }) => started),
      0.5,
    ),
    p50: p50 ?? Number.NaN,
    p99: p99 ?? Number.NaN,
    max: max ?? Number.NaN,
    fluidLimit: limits.fluid,
    limit: limits.limit,
    ratios: {
      p50: (p50 ?? Number.NaN) / limits.limit,
      p99: (p99 ?? Number.NaN) / limits.limit,
      max: (max ?? Number.NaN) / limits.limit,
    },
    originCopies: run.originBytes === undefined ? undefined : run.originBytes / swarm.size,
    seedShare: isOurs ? sum(({ fromSeed }) => fromSeed) / bytes : undefined,
    duplicateShare: isOurs ? sum(({ duplicate }) => duplicate) / bytes : undefined,
    copiesBetweenIdcs:
      isOurs && swarm.idcs > 1 ? sum(({ fromOtherIdcs }) => fromOtherIdcs) / swarm.size : undefined,
    wire:
      run.wireBytes === undefined
        ? undefined
        : overOneStream(
            { wire: run.wireBytes, content: bytes },
            { rate: swarm.rate, goodput: result.goodput },
          ),
    cpuPerGib: ((run.cpu.total - harness) * GIB) / bytes,
    machine: run.cpu.machine,
    others: run.cpu.others,
    isVoid: run.cpu.machine > VOID_SHARE,
  };
}

/** Those a limit is known for: all that were not killed, and not the slow ones. */
function judgedHosts({ swarm }: SwarmResult, run: SwarmRun): readonly HostRun[] {
  return run.hosts.filter(({ seconds, rate }) => seconds !== undefined && rate === swarm.rate);
}

/** Seconds that the judged hosts need at least: by the fluid alone, and with pieces counted in. */
function limitsOf(result: SwarmResult, run: SwarmRun): { fluid: number; limit: number } {
  const { swarm, goodput, pieces } = result;
  const payload = goodput / swarm.rate;
  const judged = judgedHosts(result, run);
  const survivors = run.hosts.filter(({ seconds }) => seconds !== undefined);
  const length = swarm.size;
  const link = (host: HostRun): { up: number; down: number } => ({
    up: host.rate * payload,
    down: host.rate * payload,
  });
  const shape = { length, pieces, sourceUp: goodput, hosts: survivors.map(link) };
  const fast = { ...shape, hosts: judged.map(link) };
  const killed = run.hosts
    .filter(({ seconds }) => seconds === undefined)
    .map((host) => link(host).up);
  const fluid =
    run.killedAfter === undefined
      ? fluidLimit(swarm.slow === undefined ? shape : fast)
      : survivorLimit(shape, { after: run.killedAfter, up: killed });
  const byPieces = pieceLimit(shape, { hosts: judged.length, rate: goodput });
  const byThin = swarm.thin > 0 ? (length / (swarm.thin * payload)) * (1 + 1 / pieces) : 0;
  return { fluid: Math.max(fluid, byThin), limit: Math.max(fluid, byPieces, byThin) };
}

/** What was promised of the case that was run. */
export function swarmBars(result: SwarmResult): SwarmBar[] {
  const summaries = summarizeSwarm(result);
  const ours = summaries.find(({ contender }) => contender === 'dfget');
  if (ours === undefined) return [];
  const base = summaries.find(({ contender }) => contender === 'dfget without the slow');
  return [
    ...timeBars(result.swarm, { ours, base }),
    { what: 'copies from the origin', limit: 1, measured: ours.originCopies ?? 0 },
    { what: 'duplicate bytes, share', limit: 0.02, measured: ours.duplicateShare ?? 0 },
  ];
}

function timeBars(
  swarm: SwarmResult['swarm'],
  { ours, base }: { readonly ours: SwarmSummary; readonly base: SwarmSummary | undefined },
): SwarmBar[] {
  if (base !== undefined) {
    const what = 'last fast host with slow ones, × without them';
    return [{ what, limit: 1.05, measured: ours.max / base.max }];
  }
  if (ours.copiesBetweenIdcs !== undefined) {
    const limit = 1.1 * (swarm.idcs - 1);
    return [{ what: 'copies between idcs', limit, measured: ours.copiesBetweenIdcs }];
  }
  const { delayMs, loss, kill, joinOverMs } = swarm;
  const hasTrouble = [delayMs, loss, kill, joinOverMs].some((each) => each > 0);
  const last = { what: 'last host, × limit', measured: ours.ratios.max };
  if (hasTrouble || swarm.hosts > 16) return [{ ...last, limit: 1.2 }];
  const middle = { what: 'middle host, × limit', limit: 1.1, measured: ours.ratios.p50 };
  return [{ ...last, limit: 1.15 }, middle];
}

/** Everything as text. */
export function renderSwarm(result: SwarmResult): string {
  const summaries = summarizeSwarm(result);
  const parts = [caseLines(result), summaryTable(summaries)];
  for (const { contender, machine } of summaries.filter(({ isVoid }) => isVoid)) {
    const busy = `the machine was ${percent(machine)} busy`;
    parts.push(
      `VOID as a result about networks: ${contender}, ${busy}, ${percent(VOID_SHARE)} at most\n`,
    );
  }
  parts.push(barTable(swarmBars(result)));
  return parts.join('\n');
}

function caseLines({ swarm, goodput, pieceLength, pieces }: SwarmResult): string {
  const facts = [
    `${swarm.hosts} hosts, ${humanBytes(swarm.size)}, ${swarm.rate / 1e6} Mbit/s each way`,
  ];
  if (swarm.delayMs > 0) facts.push(`${swarm.delayMs} ms one way`);
  if (swarm.loss > 0) facts.push(`${swarm.loss * 100} % loss`);
  if (swarm.kill > 0) facts.push(`${percent(swarm.kill)} killed at half`);
  if (swarm.joinOverMs > 0) facts.push(`joining over ${swarm.joinOverMs / 1000} s`);
  if (swarm.slow !== undefined)
    facts.push(`${swarm.slow.hosts} at ${swarm.slow.factor} of the rate`);
  if (swarm.idcs > 1) facts.push(`${swarm.idcs} idcs, ${swarm.thin / 1e6} Mbit/s between them`);
  const wire = (goodput * 8) / swarm.rate;
  return [
    `case     ${facts.join(', ')}`,
    `pieces   ${pieces} of ${humanBytes(pieceLength)}`,
    `goodput  ${((goodput * 8) / 1e6).toFixed(2)} Mbit/s of one TCP stream, ${percent(wire)} of the wire`,
    '',
  ].join('\n');
}

function tenths(value: number | undefined): string | undefined {
  return value === undefined ? undefined : `${(value * 100).toFixed(1)} %`;
}

function summaryTable(summaries: readonly SwarmSummary[]): string {
  const columns = [
    'who',
    'hosts',
    'start s',
    'p50 s',
    'p99 s',
    'max s',
    'fluid s',
    'limit s',
    '× p50',
    '× p99',
    '× max',
  ];
  columns.push('copies', 'seed', 'twice', 'wire', 'CPU-s/GiB', 'busy', 'others');
  const rows = summaries.map((each) => ({
    who: each.contender,
    hosts: each.hosts,
    'start s': each.started.toFixed(2),
    'p50 s': each.p50.toFixed(2),
    'p99 s': each.p99.toFixed(2),
    'max s': each.max.toFixed(2),
    'fluid s': each.fluidLimit.toFixed(2),
    'limit s': each.limit.toFixed(2),
    '× p50': each.ratios.p50.toFixed(2),
    '× p99': each.ratios.p99.toFixed(2),
    '× max': each.ratios.max.toFixed(2),
    copies: each.originCopies?.toFixed(2),
    seed: tenths(each.seedShare),
    twice: tenths(each.duplicateShare),
    wire: each.wire?.toFixed(3),
    'CPU-s/GiB': each.cpuPerGib.toFixed(2),
    busy: percent(each.machine),
    others: percent(each.others),
  }));
  return renderTable(columns, rows);
}

function barTable(bars: readonly SwarmBar[]): string {
  const rows = bars.map(({ what, limit, measured }) => ({
    promise: what,
    'at most': limit.toFixed(2),
    measured: measured.toFixed(3),
    verdict: measured <= limit + 0.0005 ? 'met' : 'MISSED',
  }));
  return renderTable(['promise', 'at most', 'measured', 'verdict'], rows);
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
