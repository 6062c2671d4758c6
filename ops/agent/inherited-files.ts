import { readFileSync, readdirSync } from 'node:fs';

const CLOSE_ON_EXEC = 0o2000000;
/** Higher ones are not looked for: covering a file costs an entry for every number below it. */
const MAX_FILE = 4_096;

/**
 * Numbers of open files that whatever this process starts would have too: those that its own parent left open (Node sees
 * to these only up to the first gap above 16), and files of `level`, its journal among them, which it opens at any time:
 * so nothing is waited for between this look and the start.
 */
export function inheritedFiles(): number[] {
  return readdirSync('/proc/self/fdinfo')
    .map(Number)
    .filter((file) => file > 2 && file <= MAX_FILE && isPassedOn(file));
}

function isPassedOn(file: number): boolean {
  try {
    const text = readFileSync(`/proc/self/fdinfo/${file}`, 'latin1');
    const flags = /^flags:\s*([0-7]+)$/m.exec(text)?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & CLOSE_ON_EXEC) === 0;
  } catch {
    // Closed since.
    return false;
  }
}
