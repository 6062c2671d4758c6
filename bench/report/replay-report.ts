import type { Replayed } from '../sim/replay.ts';
import { renderTable } from './table.ts';

/** So far a simulated run may be from the real one. */
const REPLAY_BAR = 0.1;
/** Above this share of busy processors the real run was held up by what is not simulated; see `swarm-report.ts`. */
const VOID_SHARE = 0.6;

/** A real run and its simulation, side by side. */
export function renderReplay(
  rows: readonly Replayed[],
  about: { readonly machine: number },
): string {
  const table = renderTable(
    ['', 'real s', 'simulated s', 'difference', 'at most', 'verdict'],
    rows.map(({ what, recorded, simulated, difference }) => ({
      '': what,
      'real s': recorded.toFixed(2),
      'simulated s': simulated.toFixed(2),
      difference: `${(difference * 100).toFixed(1)} %`,
      'at most': `${REPLAY_BAR * 100} %`,
      verdict: Math.abs(difference) <= REPLAY_BAR ? 'met' : 'MISSED',
    })),
  );
  if (about.machine <= VOID_SHARE) return table;
  const busy = `${Math.round(about.machine * 100)} %`;
  return `${table}\nVOID as a result about the simulator: the real machine was ${busy} busy\n`;
}
