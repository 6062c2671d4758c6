import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { CodedError, systemCode } from '../../core/base/error.ts';
import type { Launch } from './launcher.ts';

/**
 * Starts a program in a session of its own, without input and with no open file of this process. `out` is where both its
 * output and its errors go: pipes, or an open file. ERR_COMMAND_START when that fails at once; later failures are an
 * `error` event.
 */
export function startDetached(
  { argv, environment, covered, cwd = '/' }: Launch,
  { out }: { readonly out: 'pipe' | number },
): ChildProcess {
  const [program, ...args] = argv;
  const nothing = covered.length === 0 ? undefined : openSync('/dev/null', 'r+');
  try {
    // What is 'ignore' from the fourth on stays as it is: closed, or covered.
    const more = Array.from({ length: Math.max(3, ...covered) - 2 }, (_none, at) =>
      nothing !== undefined && covered.includes(at + 3) ? nothing : ('ignore' as const),
    );
    return spawn(program, args, {
      cwd,
      env: { ...environment },
      stdio: ['ignore', out, out, ...more],
      // setsid(): a session, and so a group, of its own.
      detached: true,
      shell: false,
    });
  } catch (error) {
    throw startError(program, error);
  } finally {
    if (nothing !== undefined) closeSync(nothing);
  }
}

/** ERR_COMMAND_START of a program that the system would not start. */
export function startError(program: string, cause: unknown): CodedError {
  const reason = systemCode(cause) ?? 'unknown';
  return new CodedError('ERR_COMMAND_START', `${program} cannot be started (${reason})`, { cause });
}
