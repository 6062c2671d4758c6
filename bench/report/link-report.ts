import { humanBytes } from '../../core/base/units.ts';
import { median } from '../measure/median.ts';
import { linkContenders, linkWays } from '../scenario/link.ts';
import type { LinkContender, LinkResult, LinkSample, LinkWay } from '../scenario/link.ts';
import { renderTable } from './table.ts';

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
/** What a machine at rest does for itself. */
const QUIET_SHARE = 0.05;

/** At least so many times the throughput, at most so many times the CPU, of curl and sha256sum. */
const LIMITS = { clear: { rate: 1, cpu: 1.5 }, tls: { rate: 0.7, cpu: 2 } };

const REFERENCE = 'curl | sha256sum';

/** The medians of one contender, one way. CPU in seconds per GiB. */
export interface LinkSummary {
  readonly way: LinkWay;
  readonly contender: LinkContender;
  readonly rounds: number;
  readonly mibPerSecond: number;
  readonly sender: number;
  readonly receiver: number;
  readonly both: number;
  /** As multiples of `curl | sha256sum` in the same round; undefined without it. */
  readonly timesRate: number | undefined;
  readonly timesCpu: number | undefined;
  /** The same of `curl | openssl sha256`. */
  readonly timesFastRate: number | undefined;
  readonly timesFastCpu: number | undefined;
}

/** One promise, and what was measured. */
export interface LinkBar {
  readonly what: string;
  /** A least throughput, or a most CPU time; multiples of `curl | sha256sum`. */
  readonly kind: 'rate' | 'cpu';
  readonly limit: number;
  readonly measured: number;
  readonly isMet: boolean;
}

/** Medians by way and contender. */
export function summarizeLink({ samples, size }: LinkResult): LinkSummary[] {
  return linkWays.flatMap((way) =>
    linkContenders.flatMap((contender) => {
      const own = samples.filter((one) => one.way === way && one.contender === contender);
      if (own.length === 0) return [];
      const perGib = (pick: (one: LinkSample) => number): number =>
        (median(own.map(pick)) * GIB) / size;
      const times = (other: LinkContender, ratio: Ratio): number | undefined =>
        timesOf(own, { samples, other, ratio });
      return [
        {
          way,
          contender,
          rounds: own.length,
          mibPerSecond: size / MIB / median(own.map(({ seconds }) => seconds)),
          sender: perGib(({ sender }) => sender),
          receiver: perGib(({ receiver }) => receiver),
          both: perGib(cpuOf),
          timesRate: times(REFERENCE, rateRatio),
          timesCpu: times(REFERENCE, cpuRatio),
          timesFastRate: times('curl | openssl sha256', rateRatio),
          timesFastCpu: times('curl | openssl sha256', cpuRatio),
        },
      ];
    }),
  );
}

/** What was promised of the link beside curl and sha256sum; nothing where there was no curl. */
export function linkBars(result: LinkResult): LinkBar[] {
  return summarizeLink(result).flatMap((each) => {
    const { way, contender, timesRate, timesCpu } = each;
    if (!contender.startsWith('link') || timesRate === undefined || timesCpu === undefined) {
      return [];
    }
    const what = `${contender}, ${way}`;
    const { rate, cpu } = LIMITS[way];
    return [
      { what, kind: 'rate', limit: rate, measured: timesRate, isMet: timesRate >= rate },
      { what, kind: 'cpu', limit: cpu, measured: timesCpu, isMet: timesCpu <= cpu },
    ] as const;
  });
}

/** The whole report as text. */
export function renderLink(result: LinkResult): string {
  const { size, pieceLength, samples } = result;
  const parts = [
    `${humanBytes(size)} in pieces of ${humanBytes(pieceLength)}, one parent, one child, loopback\n`,
    summaryTable(result),
  ];
  const bars = linkBars(result);
  if (bars.length > 0) parts.push(barTable(bars));
  const others = median(samples.map((one) => one.others));
  if (others > QUIET_SHARE) {
    const share = `${Math.round(others * 100)} %`;
    parts.push(`Other programs took ${share} of this machine: only the ratios say something.\n`);
  }
  return parts.join('\n');
}

type Ratio = (own: LinkSample, other: LinkSample) => number;

const rateRatio: Ratio = (own, other) => other.seconds / own.seconds;
const cpuRatio: Ratio = (own, other) => cpuOf(own) / cpuOf(other);

function cpuOf({ sender, receiver }: LinkSample): number {
  return sender + receiver;
}

/** The median over rounds of how `own` stands to the other of the same round. */
function timesOf(
  own: readonly LinkSample[],
  to: { samples: readonly LinkSample[]; other: LinkContender; ratio: Ratio },
): number | undefined {
  const ratios = own.flatMap((one) => {
    const other = to.samples.find(
      ({ contender, way, round }) =>
        contender === to.other && way === one.way && round === one.round,
    );
    return other === undefined ? [] : [to.ratio(one, other)];
  });
  return ratios.length === 0 ? undefined : median(ratios);
}

function summaryTable(result: LinkResult): string {
  const rows = summarizeLink(result).map((each) => ({
    way: each.way,
    what: each.contender,
    rounds: each.rounds,
    'MiB/s': each.mibPerSecond.toFixed(0),
    'CPU-s/GiB': each.both.toFixed(2),
    sends: each.sender.toFixed(2),
    takes: each.receiver.toFixed(2),
    '× sha256sum': each.timesRate?.toFixed(2),
    'CPU ×': each.timesCpu?.toFixed(2),
    '× openssl': each.timesFastRate?.toFixed(2),
    'CPU × ': each.timesFastCpu?.toFixed(2),
  }));
  const columns = ['way', 'what', 'rounds', 'MiB/s', 'CPU-s/GiB', 'sends', 'takes'];
  return renderTable([...columns, '× sha256sum', 'CPU ×', '× openssl', 'CPU × '], rows);
}

function barTable(bars: readonly LinkBar[]): string {
  const words = {
    rate: ['throughput', 'at least'],
    cpu: ['CPU of both sides', 'at most'],
  } as const;
  const rows = bars.map(({ what, kind, limit, measured, isMet }) => ({
    promise: `${what}: ${words[kind][0]}`,
    limit: `${words[kind][1]} ${limit}`,
    measured: measured.toFixed(2),
    unit: `× ${REFERENCE}`,
    verdict: isMet ? 'met' : 'MISSED',
  }));
  return renderTable(['promise', 'limit', 'measured', 'unit', 'verdict'], rows);
}
