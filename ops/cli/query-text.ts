import { printable } from '../../core/base/printable.ts';
import { formatDuration, humanBytes } from '../../core/base/units.ts';
import type { QueryEvent } from './query-event.ts';

type Of<Type extends QueryEvent['type']> = Extract<QueryEvent, { readonly type: Type }>;

/** A host that fits, or may fit, with the values of the columns; `?` for what is not known. */
export function hostText(event: Of<'host'>, columns: readonly string[]): string {
  const { values, matches } = event;
  const words = columns.map((name) => `${name}=${valueText(name, values[name])}`);
  const mark = matches === 'yes' ? [] : [matches];
  return `${printable([nameOf(event), ...mark, ...words].join('  '))}\n`;
}

/** A host that did not say how it is. */
export function missingText(event: Of<'silent'> | Of<'refused'>): string {
  const why = event.type === 'silent' ? event.reason : `${event.code}: ${event.message}`;
  return `${printable(`${nameOf(event)}: ${event.type} (${why})`)}\n`;
}

/** The sums, which add up. */
export function countsText({ counts, ms }: Of<'ended'>): string {
  const { hosts, answered, silent, refused, matched, unmatched, unknown } = counts;
  const fit = `${matched} fit, ${unmatched} do not, of ${unknown} it is not known`;
  return `${hosts} hosts: ${answered} answered (${fit}), ${silent} silent, ${refused} refused; ${(ms / 1000).toFixed(2)} s\n`;
}

/** The name of a value tells its unit. */
function valueText(name: string, value: string | number | undefined): string {
  if (value === undefined) return '?';
  if (typeof value === 'string') return value;
  if (name.endsWith('Bytes')) return humanBytes(value);
  if (name.endsWith('Seconds')) return formatDuration(Math.round(value) * 1_000);
  if (name.endsWith('Percent')) return `${value}%`;
  return String(Math.round(value * 100) / 100);
}

function nameOf({ hostname, peer }: { readonly hostname?: string; readonly peer: string }): string {
  return hostname ?? peer;
}
