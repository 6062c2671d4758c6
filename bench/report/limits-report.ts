import { humanBytes } from '../../core/base/units.ts';
import type { LimitSample } from '../scenario/limits.ts';
import { renderTable } from './table.ts';

/** Farthest that what passes may be from what was set. */
const BAR = 0.05;
/** A task that had less in all windows has too few pieces to be compared with others. */
const COMPARABLE_BYTES = 4_194_304;

/** How far the window that is farthest off is from what was set, as a share of that; below it is negative. */
export function worstOf({ set, windows }: Pick<LimitSample, 'set' | 'windows'>): number {
  const errors = windows.map((rate) => rate / set - 1);
  return errors.reduce((worst, error) => (Math.abs(error) > Math.abs(worst) ? error : worst), 0);
}

/** The task that had least and the one that had most, as shares of the mean; undefined where that says nothing. */
export function sharesOf({
  each,
}: Pick<LimitSample, 'each'>): { readonly least: number; readonly most: number } | undefined {
  const mean = each.reduce((sum, bytes) => sum + bytes, 0) / Math.max(1, each.length);
  if (each.length < 2 || mean < COMPARABLE_BYTES) return undefined;
  return { least: Math.min(...each) / mean, most: Math.max(...each) / mean };
}

const columns = [
  'limiter',
  'tasks',
  'set',
  'measured',
  'mean off',
  'worst window off',
  'lowered off',
  'tasks of their mean',
  'within 5 %',
] as const;

/** The table, a line each. */
export function renderLimits(samples: readonly LimitSample[]): string {
  const rows = samples.map((sample) => {
    const { limiter, tasks, set, windows, lowered } = sample;
    const mean = windows.reduce((sum, rate) => sum + rate, 0) / Math.max(1, windows.length);
    const worst = worstOf(sample);
    const loweredOff = lowered === undefined ? undefined : lowered.rate / lowered.set - 1;
    const shares = sharesOf(sample);
    return {
      limiter,
      tasks: String(tasks),
      set: `${humanBytes(set)}/s`,
      measured: `${humanBytes(Math.round(mean))}/s`,
      'mean off': percent(mean / set - 1),
      'worst window off': percent(worst),
      'lowered off': loweredOff === undefined ? '-' : percent(loweredOff),
      'tasks of their mean':
        shares === undefined ? '-' : `${shares.least.toFixed(2)} to ${shares.most.toFixed(2)}`,
      'within 5 %': Math.max(Math.abs(worst), Math.abs(loweredOff ?? 0)) <= BAR ? 'yes' : 'no',
    };
  });
  return renderTable(columns, rows);
}

function percent(share: number): string {
  return `${share >= 0 ? '+' : ''}${(share * 100).toFixed(1)} %`;
}
