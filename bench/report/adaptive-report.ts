import { humanBytes } from '../../core/base/units.ts';
import type { AdaptiveRun } from '../scenario/adaptive.ts';
import { renderTable } from './table.ts';

const columns = [
  'used',
  'adaptive',
  'alone',
  'beside us',
  'kept',
  'ours before',
  'meanwhile',
  'back after',
  'machine busy',
  'promise',
] as const;

/** What the other program is to keep of what it has alone: of the line, and of the disk. */
const KEPT = { line: 0.9, disk: 0.8 };
/** Seconds within which we are to be back. */
const BACK_WITHIN = 5;

/** Whether what is promised with adaptive control on was so; undefined with it off: nothing is. */
export function isKept(run: AdaptiveRun): boolean | undefined {
  if (!run.isAdaptive) return undefined;
  const kept = run.beside / run.alone;
  if (run.part === 'disk') return kept >= KEPT.disk;
  return kept >= KEPT.line && (run.backAfter ?? Infinity) <= BACK_WITHIN;
}

/** The table, a line each. */
export function renderAdaptive(runs: readonly AdaptiveRun[]): string {
  const rows = runs.map((run) => ({
    used: run.part,
    adaptive: run.isAdaptive ? 'on' : 'off',
    alone: rate(run.alone),
    'beside us': rate(run.beside),
    kept: `${((run.beside / run.alone) * 100).toFixed(1)} %`,
    'ours before': rate(run.before),
    meanwhile: rate(run.during),
    'back after': backAfter(run),
    'machine busy': `${(run.cpu * 100).toFixed(0)} %`,
    promise: promise(run),
  }));
  return renderTable(columns, rows);
}

function rate(bytesPerSecond: number): string {
  return `${humanBytes(Math.round(bytesPerSecond))}/s`;
}

function promise(run: AdaptiveRun): string {
  const isSo = isKept(run);
  if (isSo === undefined) return '';
  return isSo ? 'kept' : 'missed';
}

function backAfter({ part, backAfter: seconds }: AdaptiveRun): string {
  if (part === 'disk') return '';
  return seconds === undefined ? 'not in 10 s' : `${seconds.toFixed(1)} s`;
}
