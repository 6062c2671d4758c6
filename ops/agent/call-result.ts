import { CodedError } from '../../core/base/error.ts';
import { printable } from '../../core/base/printable.ts';
import { issueCallResult } from '../../core/identity/call-order.ts';
import type { CallOutcome } from '../../core/identity/call-order.ts';
import type { HostKey } from '../../core/identity/host-key.ts';
import { CapturedOutput } from './captured-output.ts';
import type { RunEnd } from './run-command.ts';

const MAX_MESSAGE_LENGTH = 1_000;

/** What a call came to. */
export interface Became {
  readonly outcome: CallOutcome;
  /** Of what is not ok. */
  readonly error?: CodedError;
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  /** Cell time, ms; absent when it never began. */
  readonly began?: number;
}

/** What a program came to that was started. */
export function resultOfRun(end: RunEnd, timeoutMs: number): Became {
  const { exitCode, signal } = end;
  if (end.ended === undefined && exitCode === 0) return { outcome: 'ok', exitCode };
  return { outcome: 'failed', error: errorOf(end, timeoutMs), exitCode, signal };
}

/** What a program came to that may not have been started. */
export function resultOfStart(error: CodedError): Became {
  return { outcome: 'failed', error };
}

function errorOf(
  { ended, left, exitCode, signal, exceeded }: RunEnd,
  timeoutMs: number,
): CodedError {
  const rest = left === 0 ? '' : `; ${left} of its processes cannot be killed`;
  switch (ended) {
    case 'timeout':
      return new CodedError('ERR_TIMEOUT', `ended after ${timeoutMs} ms${rest}`);
    case 'cancelled':
      return new CodedError('ERR_INTERRUPTED', `the call was stopped${rest}`);
    case undefined: {
      const how = signal === undefined ? `with status ${exitCode}` : `by ${signal}`;
      const why = exceeded === undefined ? '' : `: it was above its limit of ${exceeded}`;
      return new CodedError('ERR_COMMAND_FAILED', `the program ended ${how}${why}`);
    }
  }
}

/** The signed result. */
export function resultOf(
  became: Became,
  options: {
    readonly id: string;
    readonly key: HostKey;
    readonly ended: number;
    readonly output?: { readonly stdout: CapturedOutput; readonly stderr: CapturedOutput };
  },
): string {
  const { id, key, ended, output = NO_OUTPUT } = options;
  const { outcome, error, exitCode, signal, began } = became;
  return issueCallResult(key, {
    call: id,
    host: key.peerId,
    outcome,
    ...(error === undefined
      ? {}
      : { code: error.code, message: printable(error.message).slice(0, MAX_MESSAGE_LENGTH) }),
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(signal === undefined ? {} : { signal }),
    ...(began === undefined ? {} : { began }),
    ended,
    stdoutBytes: output.stdout.bytes,
    stdoutDigest: output.stdout.digest(),
    stderrBytes: output.stderr.bytes,
    stderrDigest: output.stderr.digest(),
  });
}

const NO_OUTPUT = { stdout: new CapturedOutput(0), stderr: new CapturedOutput(0) };
