import { humanBytes } from '../core/base/units.ts';
import type { Explanation, SourceReport } from '../core/swarm/download-events.ts';
import { printable } from '../core/base/printable.ts';

const HEADINGS = ['ROLE', 'SOURCE', 'ADDRESS', 'PIECES', 'BYTES', 'SAVED', 'WRONG', 'FAILED'];
/** Columns whose values are numbers, set flush right. */
const FIRST_NUMBER = 3;

/** The explanation of a download as lines of text: who sent what, what was waited for, notes. */
export function explainLines(explain: Explanation): string[] {
  const lines = sourceLines(explain.sources);
  if (explain.waits.length > 0) {
    lines.push('waits:');
    for (const { reason, ms } of explain.waits) {
      lines.push(`  ${(ms / 1000).toFixed(3).padStart(9)} s  ${printable(reason)}`);
    }
  }
  if (explain.notes.length > 0) {
    lines.push('notes:', ...explain.notes.map((note) => `  ${printable(note)}`));
  }
  return lines;
}

function sourceLines(sources: readonly SourceReport[]): string[] {
  if (sources.length === 0) return ['no bytes were sent by anybody'];
  const bySize = sources.toSorted((left, right) => right.bytes - left.bytes);
  const rows = [HEADINGS, ...bySize.map(rowOf)];
  const widths = HEADINGS.map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column < FIRST_NUMBER
          ? cell.padEnd(widths[column] ?? 0)
          : cell.padStart(widths[column] ?? 0),
      )
      .join('  '),
  );
}

function rowOf(source: SourceReport): string[] {
  return [
    source.role,
    printable(source.source),
    printable(source.address ?? '-'),
    String(source.pieces),
    humanBytes(source.bytes),
    source.savedBytes === undefined ? '-' : humanBytes(source.savedBytes),
    String(source.wrongPieces),
    String(source.failures),
  ];
}
