import { humanBytes } from '../../core/base/units.ts';
import type { ChurnSample, OpenSample } from '../scenario/store.ts';
import { renderTable } from './table.ts';

/** Longest that opening may take. */
const BAR_MS = 5_000;

/** Both tables as text. */
export function renderStore(result: {
  readonly opened: readonly OpenSample[];
  readonly churned: ChurnSample | undefined;
}): string {
  const rows = result.opened.map((sample) => ({
    left: sample.leaving,
    tasks: sample.tasks,
    pieces: sample.pieces,
    'opened in s': (sample.openMs / 1000).toFixed(3),
    'CPU-s': sample.cpuSeconds.toFixed(2),
    'rows and files read in s': (sample.readMs / 1000).toFixed(3),
    times: (sample.openMs / sample.readMs).toFixed(1),
    rows: humanBytes(sample.rowBytes),
    repairs: sample.repairs,
    rss: humanBytes(sample.rss),
    'within 5 s': sample.openMs <= BAR_MS ? 'yes' : 'no',
  }));
  const first = ['left', 'tasks', 'pieces', 'opened in s', 'CPU-s', 'rows and files read in s'];
  const table = renderTable([...first, 'times', 'rows', 'repairs', 'rss', 'within 5 s'], rows);
  const { churned } = result;
  if (churned === undefined) return table;
  const { tasks, kept, largest, end } = churned;
  const sizes = `at most ${humanBytes(largest)}, ${humanBytes(end)} at the end`;
  return `${table}\njournal of ${tasks} tasks made, all but ${kept} evicted: ${sizes}\n`;
}
