import type { ReleaseOutcome } from '../scenario/release.ts';
import { renderTable } from './table.ts';

/** What became of each release, beside what is asked of it. */
export function renderReleases(outcomes: readonly ReleaseOutcome[]): string {
  const rows = outcomes.map((outcome) => ({
    version: outcome.version,
    ended: outcome.phase,
    seconds: outcome.seconds.toFixed(1),
    copies: outcome.copies.toFixed(2),
    deaths: `${outcome.deaths}`,
    touched: `${outcome.touched} of ${outcome.batches.flat().length}`,
    visits: `${outcome.visits?.asked ?? ''}`,
    'passed on': `${outcome.visits?.passedOn ?? ''}`,
    unanswered: `${outcome.visits?.unanswered ?? ''}`,
    'hosts answer': [...outcome.answers].map(([text, count]) => `${count} × ${text}`).join(', '),
  }));
  const columns = ['version', 'ended', 'seconds', 'copies', 'deaths', 'touched', 'visits'];
  const batches = outcomes[0]?.batches.map((batch) => batch.join(' ')) ?? [];
  return [
    renderTable([...columns, 'passed on', 'unanswered', 'hosts answer'], rows),
    `batches: ${batches.join(' | ')}`,
    '',
  ].join('\n');
}
