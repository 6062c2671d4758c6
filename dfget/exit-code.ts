import type { CodedError } from '../core/base/error.ts';

/** The exit code of a failure, 1 to 10; docs/errors.md lists them by error code. */
export function exitCodeOf(error: CodedError): number {
  return error.facts.exit;
}
