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
] as const;

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
  }));
  return renderTable(columns, rows);
}

function rate(bytesPerSecond: number): string {
  return `${humanBytes(Math.round(bytesPerSecond))}/s`;
}

function backAfter({ part, backAfter: seconds }: AdaptiveRun): string {
  if (part === 'disk') return '';
  return seconds === undefined ? 'not in 10 s' : `${seconds.toFixed(1)} s`;
}
