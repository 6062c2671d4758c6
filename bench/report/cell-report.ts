import { humanBytes } from '../../core/base/units.ts';
import type { CellRun } from '../scenario/cell.ts';
import { renderTable } from './table.ts';

/** Farthest that a sum may be from the budget. */
const BAR = 0.05;
/** Seconds within which what became free is to be used. */
const REUSED_WITHIN = 2;

/** Whether all sums were within 5 % of the budget, and what became free was used in time. */
export function isKept({ budget, all, half, again, reusedAfter = Infinity }: CellRun): boolean {
  const isNear = [all, half, again].every((rate) => Math.abs(rate / budget - 1) <= BAR);
  return isNear && reusedAfter <= REUSED_WITHIN;
}

const columns = [
  'hosts',
  'budget',
  'all, 10 s',
  'half of them',
  'reused after',
  'all again',
  'most in 2 s',
  'hosts of their mean',
  'machine busy',
  'kept',
] as const;

/** The table, a line each; sums as they are off the budget. */
export function renderCell(runs: readonly CellRun[]): string {
  const rows = runs.map((run) => {
    const off = (rate: number): string => percent(rate / run.budget - 1);
    return {
      hosts: String(run.hosts),
      budget: `${humanBytes(run.budget)}/s`,
      'all, 10 s': off(run.all),
      'half of them': off(run.half),
      'reused after': run.reusedAfter === undefined ? 'never' : `${run.reusedAfter.toFixed(1)} s`,
      'all again': off(run.again),
      'most in 2 s': off(run.most),
      'hosts of their mean': `${run.least.toFixed(2)} to ${run.largest.toFixed(2)}`,
      'machine busy': `${(run.cpu * 100).toFixed(0)} %`,
      kept: isKept(run) ? 'yes' : 'no',
    };
  });
  return renderTable(columns, rows);
}

function percent(share: number): string {
  return `${share >= 0 ? '+' : ''}${(share * 100).toFixed(1)} %`;
}
