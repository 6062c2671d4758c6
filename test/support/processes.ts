import { readFileSync, readdirSync } from 'node:fs';

/** Processes, the dead ones aside, that have this text in their environment or among their arguments. */
export function processesWith(text: string): string[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && !/\) [ZX] /.test(ofProcess(pid, 'stat')))
    .filter((pid) => `${ofProcess(pid, 'environ')}${ofProcess(pid, 'cmdline')}`.includes(text));
}

function ofProcess(pid: string, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1');
  } catch {
    return '';
  }
}
