import { median } from '../measure/median.ts';
import { contentWords } from '../scenario/compression-content.ts';
import type { ContentKind } from '../scenario/compression-content.ts';
import type { CompressionResult, CompressionRun } from '../scenario/compression.ts';
import { renderTable } from './table.ts';

/** One content at one rate: medians of both ways. */
export interface CompressionSummary {
  readonly kind: ContentKind;
  /** Bits per second; 0 is no limit. */
  readonly rate: number;
  readonly rawSeconds: number;
  readonly seconds: number;
  /** How many times as fast as raw. */
  readonly gain: number;
  /** Payload on the wire by bytes of the content. */
  readonly wire: number;
  /** Bytes compressed, or tried, by bytes of the content. */
  readonly tried: number;
  readonly rawCpuSeconds: number;
  readonly cpuSeconds: number;
}

/** Medians over all rounds, in the order of measuring. */
export function summarizeCompression({ runs, size }: CompressionResult): CompressionSummary[] {
  const keys = new Set(runs.map(({ kind, rate }) => `${rate} ${kind}`));
  return [...keys].flatMap((key) => {
    const own = runs.filter(({ kind, rate }) => key === `${rate} ${kind}`);
    const [first] = own;
    if (first === undefined) return [];
    const middle = (isCompressing: boolean, pick: (run: CompressionRun) => number): number =>
      median(own.filter((run) => run.isCompressing === isCompressing).map(pick));
    const rawSeconds = middle(false, ({ seconds }) => seconds);
    const seconds = middle(true, (run) => run.seconds);
    return {
      kind: first.kind,
      rate: first.rate,
      rawSeconds,
      seconds,
      gain: rawSeconds / seconds,
      wire: middle(true, ({ wireBytes }) => wireBytes) / size,
      tried: middle(true, ({ triedBytes }) => triedBytes) / size,
      rawCpuSeconds: middle(false, ({ cpuSeconds }) => cpuSeconds),
      cpuSeconds: middle(true, ({ cpuSeconds }) => cpuSeconds),
    };
  });
}

/** What compression is to win where it can, and never to cost. */
const GAIN = 2;
const LEAST_GAIN = 0.95;
/** The link, bits a second, at which it is to win, and the contents that shrink. */
const GAIN_RATE = 50e6;
const shrinking: readonly ContentKind[] = ['elf', 'text', 'disk'];

/** Whether it won what it is to win there, lost no more than it may, and spent nothing on what is compressed already. */
export function isKept({ kind, rate, gain, tried }: CompressionSummary): boolean {
  const least = rate > 0 && rate <= GAIN_RATE && shrinking.includes(kind) ? GAIN : LEAST_GAIN;
  return gain >= least && (kind !== 'gzip' || tried === 0);
}

const columns = [
  'link',
  'content',
  'raw',
  'auto',
  'gain',
  'on the wire',
  'tried',
  'CPU raw',
  'CPU',
  'promise',
];

/** The report as text. */
export function renderCompression(result: CompressionResult): string {
  const rows = summarizeCompression(result).map((row) => ({
    link: row.rate === 0 ? 'no limit' : `${row.rate / 1e6} Mbit/s`,
    content: contentWords[row.kind],
    raw: `${row.rawSeconds.toFixed(2)} s`,
    auto: `${row.seconds.toFixed(2)} s`,
    gain: row.gain.toFixed(2),
    'on the wire': row.wire.toFixed(2),
    tried: row.tried.toFixed(2),
    'CPU raw': `${row.rawCpuSeconds.toFixed(2)} s`,
    CPU: `${row.cpuSeconds.toFixed(2)} s`,
    promise: isKept(row) ? 'kept' : 'missed',
  }));
  const busiest = Math.max(0, ...result.runs.map(({ machine }) => machine));
  const others = Math.max(0, ...result.runs.map((run) => run.others));
  const streams = [...result.goodput].map(([rate, bytes]) => {
    const bound = result.size / bytes;
    const link = rate === 0 ? 'no limit' : `${rate / 1e6} Mbit/s`;
    return `${link}: one TCP stream carries ${(bytes / 1e6).toFixed(1)} MB/s, ${bound.toFixed(2)} s for the content raw`;
  });
  const facts = [
    `${(result.size / 2 ** 20).toFixed(0)} MiB of each content from the seed to one host, medians; wire and tried by its bytes`,
    ...streams,
    `the machine was busy at most ${percent(busiest)}, others at most ${percent(others)} of it`,
  ];
  return [renderTable(columns, rows), ...facts, ''].join('\n');
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
