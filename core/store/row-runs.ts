/**
 * Numbers of rows, ascending, as half-open runs. Rows are numbered in the order they come, so one run says thousands,
 * and what states them costs the same however many there are.
 */
export type RowRuns = readonly RowRun[];
type RowRun = readonly [start: number, end: number];

/** More than a manifest can have: each row brings news of a piece, at most once from a host and once from the cell. */
const MAX_ROWS = 2 * 1024 * 1024;

export function* rowNumbers(runs: RowRuns): Generator<number> {
  for (const [start, end] of runs) for (let row = start; row < end; row += 1) yield row;
}

export function hasRow(runs: RowRuns, row: number): boolean {
  return runs.some(([start, end]) => row >= start && row < end);
}

/** The number that comes next. */
export function nextRow(runs: RowRuns): number {
  return runs.at(-1)?.[1] ?? 0;
}

export function withNextRow(runs: RowRuns): RowRuns {
  const [start, end] = runs.at(-1) ?? [0, 0];
  return [...runs.slice(0, -1), [start, end + 1]];
}

export function withoutRows(runs: RowRuns, gone: readonly number[]): RowRuns {
  const left: [number, number][] = [];
  for (const row of rowNumbers(runs)) {
    if (gone.includes(row)) continue;
    const last = left.at(-1);
    if (last?.[1] === row) last[1] = row + 1;
    else left.push([row, row + 1]);
  }
  return left;
}

/** True for ascending runs of no more rows than there can be. */
export function isRowRuns(value: unknown): value is RowRuns {
  if (!Array.isArray(value)) return false;
  let rows = 0;
  let last = -1;
  for (const run of value) {
    if (!Array.isArray(run) || run.length !== 2) return false;
    const [start, end]: unknown[] = run;
    if (!isNumber(start) || !isNumber(end) || start <= last || end <= start) return false;
    rows += end - start;
    last = end;
  }
  return rows <= MAX_ROWS;
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value);
}
