import { humanBytes } from '../../core/base/units.ts';
import type { SimResult } from '../sim/simulate.ts';
import { fluidLimit, pieceLimit, quantile, survivorLimit } from './swarm-limits.ts';
import { renderTable } from './table.ts';

/** One simulated case in figures; times in seconds, shares and ratios as numbers. Slow and dead hosts are not judged. */
export interface SimSummary {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  readonly fluidLimit: number;
  /** With whole pieces counted in. */
  readonly limit: number;
  /** Each over `limit`. */
  readonly ratios: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly originCopies: number;
  readonly seedCopies: number;
  readonly seedShare: number;
  readonly duplicateShare: number;
  /** Bytes that went from one idc to another over the size, for each idc but the first. */
  readonly copiesAcross: number;
}

/** The figures of a case. */
export function summarizeSim(result: SimResult): SimSummary {
  const { swarm, hosts } = result;
  const living = hosts.filter(({ seconds }) => seconds !== undefined);
  const times = living.filter(({ isSlow }) => !isSlow).map(({ seconds = Number.NaN }) => seconds);
  const sum = (pick: (host: (typeof hosts)[number]) => number): number =>
    living.reduce((total, host) => total + pick(host), 0);
  const bytes = living.length * swarm.size;
  const [p50 = Number.NaN, p99 = Number.NaN, max = Number.NaN] = [0.5, 0.99, 1].map((share) =>
    quantile(times, share),
  );
  const limits = limitsOf(result, times.length);
  const ratios = { p50: p50 / limits.limit, p99: p99 / limits.limit, max: max / limits.limit };
  return {
    p50,
    p99,
    max,
    fluidLimit: limits.fluid,
    limit: limits.limit,
    ratios,
    originCopies: result.originBytes / swarm.size,
    seedCopies: result.seedBytes / swarm.size,
    seedShare: sum(({ fromSeed }) => fromSeed) / bytes,
    duplicateShare: sum(({ duplicate }) => duplicate) / bytes,
    copiesAcross: result.crossedBytes / swarm.size / Math.max(1, swarm.idcs - 1),
  };
}

function limitsOf(result: SimResult, judged: number): { fluid: number; limit: number } {
  const { swarm, pieces, hosts, killedAfter } = result;
  const rates = { up: swarm.up, down: swarm.down };
  const living = hosts.filter(({ seconds }) => seconds !== undefined);
  const sourceUp = Math.min(swarm.seedUp, swarm.originRate);
  // Slow hosts give less; that they take longer is no limit for the others.
  const links = living.map(({ isSlow }) => {
    return isSlow ? { up: rates.up * (swarm.slow?.factor ?? 1), down: rates.down } : rates;
  });
  const shape = { length: swarm.size, pieces, sourceUp, hosts: links };
  const dead = hosts.filter(({ seconds }) => seconds === undefined).map(() => rates.up);
  const fluid =
    killedAfter === undefined
      ? fluidLimit({ ...shape, hosts: swarm.slow === undefined ? links : links.slice(0, judged) })
      : survivorLimit(shape, { after: killedAfter, up: dead });
  const rate = Math.min(swarm.up, swarm.down, sourceUp);
  // One copy has to cross.
  const across = swarm.size / (swarm.thin ?? Number.POSITIVE_INFINITY);
  const limit = Math.max(fluid, across, pieceLimit(shape, { hosts: judged, rate }));
  return { fluid, limit };
}

/** Everything as text. */
export function renderSim(result: SimResult): string {
  const summary = summarizeSim(result);
  const { p50, p99, max, ratios } = summary;
  const row = {
    'p50 s': figure(p50),
    'p99 s': figure(p99),
    'max s': figure(max),
    'fluid s': figure(summary.fluidLimit),
    'limit s': figure(summary.limit),
    '× p50': ratio(ratios.p50),
    '× p99': ratio(ratios.p99),
    '× max': ratio(ratios.max),
    copies: figure(summary.originCopies),
    'seed sent': figure(summary.seedCopies),
    seed: percent(summary.seedShare),
    twice: percent(summary.duplicateShare),
    across: result.swarm.idcs > 1 ? figure(summary.copiesAcross) : undefined,
    hedged: result.hedges,
    moved: result.moves,
  };
  const columns = Object.keys(row).filter((name) => name !== 'across' || result.swarm.idcs > 1);
  return `${caseLines(result)}\n${renderTable(columns, [row])}`;
}

function caseLines({ swarm, pieces, pieceLength, events }: SimResult): string {
  const facts = [`${swarm.hosts} hosts, ${humanBytes(swarm.size)}, ${mbit(swarm.up)} up`];
  facts.push(`${mbit(swarm.down)} down`, `${swarm.delayMs} ms one way`);
  if (swarm.seedUp !== swarm.up) facts.push(`seed ${mbit(swarm.seedUp)}`);
  if (swarm.originRate !== swarm.up) facts.push(`origin ${mbit(swarm.originRate)}`);
  if (swarm.kill > 0) facts.push(`${percent(swarm.kill)} killed at half`);
  if (swarm.joinAtMs !== undefined) facts.push('joining as in the real run');
  if (swarm.joinOverMs > 0) facts.push(`joining over ${swarm.joinOverMs / 1000} s`);
  if (swarm.slow !== undefined) {
    facts.push(`${swarm.slow.hosts} at ${swarm.slow.factor} of the rates`);
  }
  if (swarm.lose !== undefined) {
    const { atMs, backMs } = swarm.lose;
    facts.push(`no supernode from ${atMs / 1000} s on for ${backMs / 1000} s`);
  }
  if (swarm.idcs > 1) facts.push(`${swarm.idcs} idcs`);
  if (swarm.thin !== undefined) facts.push(`${mbit(swarm.thin)} between them`);
  return [
    `case     ${facts.join(', ')}`,
    `pieces   ${pieces} of ${humanBytes(pieceLength)}`,
    `events   ${events}, chance ${swarm.random}`,
    '',
  ].join('\n');
}

function figure(value: number): string {
  return value.toFixed(2);
}

function ratio(value: number): string {
  return value.toFixed(3);
}

function mbit(bytesPerSecond: number): string {
  return `${Number(((bytesPerSecond * 8) / 1e6).toFixed(2))} Mbit/s`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
