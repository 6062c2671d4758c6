import { humanBytes } from '../../core/base/units.ts';
import type { LimitSample } from '../scenario/limits.ts';
import { renderTable } from './table.ts';

/** Farthest that what passes may be from what was set. */
const BAR = 0.05;

/** How far the window that is farthest off is from what was set, as a share of that; below it is negative. */
export function worstOf({ set, windows }: LimitSample): number {
  const errors = windows.map((rate) => rate / set - 1);
  return errors.reduce((worst, error) => (Math.abs(error) > Math.abs(worst) ? error : worst), 0);
}

const columns = [
  'limiter',
  'tasks',
  'set',
  'measured',
  'mean off',
  'worst window off',
  'within 5 %',
] as const;

/** The table, a line each. */
export function renderLimits(samples: readonly LimitSample[]): string {
  const rows = samples.map((sample) => {
    const { limiter, tasks, set, windows } = sample;
    const mean = windows.reduce((sum, rate) => sum + rate, 0) / Math.max(1, windows.length);
    const worst = worstOf(sample);
    return {
      limiter,
      tasks: String(tasks),
      set: `${humanBytes(set)}/s`,
      measured: `${humanBytes(Math.round(mean))}/s`,
      'mean off': percent(mean / set - 1),
      'worst window off': percent(worst),
      'within 5 %': Math.abs(worst) <= BAR ? 'yes' : 'no',
    };
  });
  return renderTable(columns, rows);
}

function percent(share: number): string {
  return `${share >= 0 ? '+' : ''}${(share * 100).toFixed(1)} %`;
}
