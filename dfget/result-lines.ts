import type { CodedError } from '../core/base/error.ts';
import type { ByteSources } from '../core/swarm/download-events.ts';
import { exitCodeOf } from './exit-code.ts';
import { printable } from '../core/base/printable.ts';

/** A finished download, for the last line. */
export interface Finished extends ByteSources {
  readonly seconds: number;
  readonly length: number;
}

/** A failed one; length is -1 where it never became known. */
export interface Failed {
  readonly seconds: number;
  readonly length: number;
  readonly error: CodedError;
}

/** The last line of a good run, in the form that scripts have looked for since Dragonfly 1. */
export function successLine(done: Finished): string {
  const sources = `peers:${done.fromPeers} seed:${done.fromSeed} origin:${done.fromOrigin} cache:${done.fromCache}`;
  return `download SUCCESS cost:${done.seconds.toFixed(3)}s length:${done.length} reason:0 ${sources}`;
}

/** The last line of a failed run; the number in parentheses is the exit code. */
export function failLine(failed: Failed): string {
  const { error } = failed;
  const reason = `${error.code} ${printable(error.message)}`;
  return `download FAIL(${exitCodeOf(error)}) cost:${failed.seconds.toFixed(3)}s length:${failed.length} reason:${reason}`;
}
