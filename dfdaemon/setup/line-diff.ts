/** What would change in a file, as `diff -u` shows it; passwords that stand beside it are not shown. */

const CONTEXT = 3;
/** Pairs of lines compared at most; beyond it the changed part is shown as replaced whole. */
const MAX_PAIRS = 4_000_000;

/** A line of either text, or of both. */
interface DiffLine {
  readonly sign: ' ' | '-' | '+';
  readonly text: string;
}

/** Empty when the texts are equal. Undefined is a file that is not there. */
export function lineDiff(
  path: string,
  before: string | undefined,
  after: string | undefined,
): string {
  if (before === after) return '';
  const lines = alignedLines(linesOf(before), linesOf(after));
  const names = [before, after].map((text) => (text === undefined ? '/dev/null' : path));
  const hunks = hunksOf(lines).map(({ start, end }) => hunkText(lines, { start, end }));
  return `--- ${names[0]}\n+++ ${names[1]}\n${hunks.join('')}`;
}

function linesOf(text: string | undefined): readonly string[] {
  if (text === undefined || text === '') return [];
  return (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n');
}

/** Both texts in one: what they share once, the rest with whose it is. */
function alignedLines(old: readonly string[], now: readonly string[]): readonly DiffLine[] {
  const least = Math.min(old.length, now.length);
  let head = 0;
  while (head < least && old[head] === now[head]) head += 1;
  let tail = 0;
  while (tail < least - head && old.at(-1 - tail) === now.at(-1 - tail)) tail += 1;
  const middle = alignedMiddle(
    old.slice(head, old.length - tail),
    now.slice(head, now.length - tail),
  );
  return [...shared(old.slice(0, head)), ...middle, ...shared(old.slice(old.length - tail))];
}

function shared(lines: readonly string[]): readonly DiffLine[] {
  return lines.map((text) => ({ sign: ' ', text }));
}

/** By the longest common subsequence: `lengths` of what is left from each pair of places on. */
function alignedMiddle(old: readonly string[], now: readonly string[]): readonly DiffLine[] {
  const width = now.length + 1;
  const isSmall = old.length * now.length <= MAX_PAIRS;
  const lengths = new Uint32Array(isSmall ? (old.length + 1) * width : 0);
  const at = (i: number, j: number): number => lengths[i * width + j] ?? 0;
  for (let i = isSmall ? old.length - 1 : -1; i >= 0; i -= 1) {
    for (let j = now.length - 1; j >= 0; j -= 1) {
      const isSame = old[i] === now[j];
      lengths[i * width + j] = isSame ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const lines: DiffLine[] = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    if (isSmall && i < old.length && j < now.length && old[i] === now[j]) {
      lines.push({ sign: ' ', text: old[i] ?? '' });
      [i, j] = [i + 1, j + 1];
    } else if (i < old.length && (j === now.length || at(i + 1, j) >= at(i, j + 1))) {
      lines.push({ sign: '-', text: old[i] ?? '' });
      i += 1;
    } else {
      lines.push({ sign: '+', text: now[j] ?? '' });
      j += 1;
    }
  }
  return lines;
}

/** Changes with what is around them; those that are near are shown together. */
function hunksOf(lines: readonly DiffLine[]): readonly { start: number; end: number }[] {
  const hunks: { start: number; end: number }[] = [];
  for (const [at, { sign }] of lines.entries()) {
    if (sign === ' ') continue;
    const [start, end] = [Math.max(0, at - CONTEXT), Math.min(lines.length, at + CONTEXT + 1)];
    const last = hunks.at(-1);
    if (last !== undefined && start <= last.end) last.end = end;
    else hunks.push({ start, end });
  }
  return hunks;
}

function hunkText(
  lines: readonly DiffLine[],
  { start, end }: { readonly start: number; readonly end: number },
): string {
  const shown = lines.slice(start, end);
  const count = (part: readonly DiffLine[], other: '-' | '+'): number =>
    part.filter(({ sign }) => sign !== other).length;
  const above = lines.slice(0, start);
  const old = range(count(above, '+'), count(shown, '+'));
  const now = range(count(above, '-'), count(shown, '-'));
  const body = shown.map(({ sign, text }) => `${sign}${withoutSecrets(text)}\n`);
  return `@@ -${old} +${now} @@\n${body.join('')}`;
}

function range(above: number, count: number): string {
  return `${count === 0 ? above : above + 1},${count}`;
}

function withoutSecrets(line: string): string {
  return line
    .replace(/((?:_auth\w*|\w*password|\w*token|\w*secret)"?\s*[=:]\s*).+/i, '$1…')
    .replaceAll(/(:\/\/)[^/@\s]+@/g, '$1…@');
}
