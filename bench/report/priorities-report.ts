import { humanBytes } from '../../core/base/units.ts';
import { RELEASE_SHARE } from '../scenario/priorities.ts';
import type { PriorityRun } from '../scenario/priorities.ts';
import { renderTable } from './table.ts';

/** Seconds after which a release is to have its share. */
const WITHIN = 2;

/** True when the release had its share in time and kept it, and every warm-up moved. */
export function isKept(run: PriorityRun): boolean {
  const { reachedAfter = Infinity, release, line, moved, of } = run;
  return reachedAfter <= WITHIN && release >= RELEASE_SHARE * line && moved === of;
}

const columns = [
  'from',
  'line',
  'warm-ups before',
  'release, from 2 s on',
  'of the line',
  '80 % after',
  'warm-ups meanwhile',
  'that moved',
  'machine busy',
  'kept',
] as const;

/** The table, a line each. */
export function renderPriorities(runs: readonly PriorityRun[]): string {
  const rows = runs.map((run) => ({
    from: run.source,
    line: rate(run.line),
    'warm-ups before': rate(run.before),
    'release, from 2 s on': rate(run.release),
    'of the line': `${((run.release / run.line) * 100).toFixed(0)} %`,
    '80 % after': run.reachedAfter === undefined ? 'never' : `${run.reachedAfter.toFixed(1)} s`,
    'warm-ups meanwhile': rate(run.warmUps),
    'that moved': `${run.moved} of ${run.of}`,
    'machine busy': `${(run.cpu * 100).toFixed(0)} %`,
    kept: isKept(run) ? 'yes' : 'no',
  }));
  return renderTable(columns, rows);
}

function rate(bytesPerSecond: number): string {
  return `${humanBytes(Math.round(bytesPerSecond))}/s`;
}
