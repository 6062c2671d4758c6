/** One row by column name; a missing or undefined cell stays empty. */
export type TableRow = Readonly<Record<string, string | number | undefined>>;

/** Nothing, or a number with at most one word behind it, its unit. */
const NUMBER = /^(?:[-+]?[\d.]+(?: \S+)?)?$/;

/** Rows as text with aligned columns, numbers and what looks like them to the right; ends with a line break. */
export function renderTable(columns: readonly string[], rows: readonly TableRow[]): string {
  const cells = rows.map((row) => columns.map((column) => String(row[column] ?? '')));
  const widths = columns.map((column, at) =>
    Math.max(column.length, ...cells.map((row) => row[at]?.length ?? 0)),
  );
  const isNumeric = columns.map((_column, at) => cells.every((row) => NUMBER.test(row[at] ?? '')));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, at) => {
        const width = widths[at] ?? 0;
        return isNumeric[at] === true ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  const rule = widths.map((width) => '-'.repeat(width));
  return [line(columns), line(rule), ...cells.map(line), ''].join('\n');
}
