import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';

const made: string[] = [];

test.after.always('temporary folders go when the tests of a file are over', () => {
  for (const path of made) rmSync(path, { recursive: true, force: true });
});

/** A folder of its own, by this name and some letters, that goes when the tests of the file are over. */
export function temporaryFolder(name: string): string {
  const path = mkdtempSync(join(tmpdir(), `${name}-`));
  made.push(path);
  return path;
}
