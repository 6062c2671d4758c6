/** What would change in a file, as `diff -u` shows it; passwords that stand beside it are not shown. */

const CONTEXT = 3;

/** Empty when the texts are equal. Undefined is a file that is not there. */
export function lineDiff(
  path: string,
  before: string | undefined,
  after: string | undefined,
): string {
  if (before === after) return '';
  const [old, now] = [linesOf(before), linesOf(after)];
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start += 1;
  let same = 0;
  while (
    same < old.length - start &&
    same < now.length - start &&
    old[old.length - 1 - same] === now[now.length - 1 - same]
  ) {
    same += 1;
  }
  const first = Math.max(0, start - CONTEXT);
  const tail = Math.min(CONTEXT, same);
  const [oldEnd, nowEnd] = [old.length - same, now.length - same];
  const lines = [
    ...old.slice(first, start).map((line) => ` ${line}`),
    ...old.slice(start, oldEnd).map((line) => `-${line}`),
    ...now.slice(start, nowEnd).map((line) => `+${line}`),
    ...old.slice(oldEnd, oldEnd + tail).map((line) => ` ${line}`),
  ];
  const sizes = `-${range(first, oldEnd + tail)} +${range(first, nowEnd + tail)}`;
  const names = [
    before === undefined ? '/dev/null' : path,
    after === undefined ? '/dev/null' : path,
  ];
  const head = [`--- ${names[0]}`, `+++ ${names[1]}`, `@@ ${sizes} @@`];
  return [...head, ...lines.map(withoutSecrets)].map((line) => `${line}\n`).join('');
}

function linesOf(text: string | undefined): readonly string[] {
  if (text === undefined || text === '') return [];
  return (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n');
}

function range(start: number, end: number): string {
  return `${end === start ? start : start + 1},${end - start}`;
}

function withoutSecrets(line: string): string {
  return line
    .replace(/((?:_auth\w*|\w*password|\w*token|\w*secret)"?\s*[=:]\s*).+/i, '$1…')
    .replace(/(:\/\/)[^/@\s]+@/g, '$1…@');
}
