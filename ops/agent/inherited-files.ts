import { readFile, readdir } from 'node:fs/promises';

const CLOSE_ON_EXEC = 0o2000000;
/** Higher ones are not looked for: covering a file costs an entry for every number below it. */
const MAX_FILE = 4_096;

/**
 * Numbers of open files that whatever this process starts would have too: those that its own parent left open. (Node
 * opens its files otherwise, and sees to inherited ones only up to the first gap above 16.)
 */
export async function inheritedFiles(): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc/self/fdinfo')) {
    const file = Number(name);
    if (file > 2 && file <= MAX_FILE && (await isPassedOn(file))) found.push(file);
  }
  return found;
}

async function isPassedOn(file: number): Promise<boolean> {
  try {
    const text = await readFile(`/proc/self/fdinfo/${file}`, 'latin1');
    const flags = /^flags:\s*([0-7]+)$/m.exec(text)?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & CLOSE_ON_EXEC) === 0;
  } catch {
    // Closed since.
    return false;
  }
}
