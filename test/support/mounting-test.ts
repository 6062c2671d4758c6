import test from 'ava';
import type { ExecutionContext } from 'ava';
import { cannotMount } from './tmpfs.ts';

/** A test that needs to mount; skipped, saying why, where that is not possible. */
export function mounting(title: string, body: (t: ExecutionContext) => Promise<void>): void {
  if (cannotMount === undefined) test(title, body);
  else test.skip(`${title} (${cannotMount})`, body);
}
