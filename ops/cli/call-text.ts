import { printable } from '../../core/base/printable.ts';
import type { Call, CallEvent, CallResult } from './call-api.ts';

/** One line about a call. */
export function callLine({
  id,
  created,
  principal,
  command,
  args,
  on,
  state,
  counts,
}: Call): string {
  const words = [command, ...args].map((word) => printable(word)).join(' ');
  const sums =
    counts === undefined
      ? ''
      : `  ${counts.ok} ok, ${counts.failed} failed, ${counts.refused} refused, ${counts.unknown} unknown of ${counts.hosts}`;
  const time = new Date(created).toISOString();
  return `${id}  ${time}  ${principal}  ${state}${sums}  on ${on}: ${words}\n`;
}

/** How it ended on one host, and what it wrote. */
export function resultText(result: CallResult): string {
  const name = nameOf(result);
  const written = [...linesOf(result.stdout, name, ''), ...linesOf(result.stderr, name, '! ')].join(
    '',
  );
  return `${written}${endText(result)}`;
}

/** What of an event goes to standard output (`isResult`), or to standard error. */
export function eventText(event: CallEvent): { readonly text: string; readonly isResult: boolean } {
  switch (event.type) {
    case 'begun':
      return { text: '', isResult: false };
    case 'output': {
      const mark = event.stream === 'stderr' ? '! ' : '';
      return { text: linesOf(event.data, nameOf(event), mark).join(''), isResult: true };
    }
    case 'result':
      return { text: endText(event), isResult: true };
    case 'ended': {
      const { hosts, ok, failed, refused, unknown } = event.counts;
      const bad = `${failed} failed, ${refused} refused, ${unknown} unknown`;
      return { text: `${ok} of ${hosts} ok, ${bad}\n`, isResult: false };
    }
  }
}

function endText(result: Omit<CallResult, 'stdout' | 'stderr'>): string {
  const { outcome, exitCode, signal, code, message, began, ended, isOutputLost } = result;
  const seconds = began === undefined ? '' : ` after ${((ended - began) / 1000).toFixed(2)} s`;
  const how = [
    exitCode === undefined ? [] : [`exit ${exitCode}`],
    signal === undefined ? [] : [signal],
    code === undefined ? [] : [`${code}: ${printable(message ?? '')}`],
    isOutputLost === true ? ['output not complete'] : [],
  ].flat();
  const more = how.length === 0 ? '' : ` (${how.join(', ')})`;
  return `${nameOf(result)}: ${outcome}${seconds}${more}\n`;
}

/** Lines of base64 text with the name of the host before each; what would move the cursor is spelt out. */
function linesOf(data: string, name: string, mark: string): string[] {
  const text = Buffer.from(data, 'base64').toString();
  if (text === '') return [];
  const lines = text.endsWith('\n') ? text.slice(0, -1).split('\n') : text.split('\n');
  return lines.map((line) => `${name}| ${mark}${printable(line)}\n`);
}

function nameOf({ hostname, peer }: { readonly hostname?: string; readonly peer: string }): string {
  return hostname ?? peer.slice(-8);
}
