import { CodedError, systemCode } from '../../core/base/error.ts';

/** Any failure of a command as a coded error; flags that `parseArgs` refuses as ERR_USAGE. */
export function commandError(error: unknown): CodedError {
  if (error instanceof Error && systemCode(error)?.startsWith('ERR_PARSE_ARGS') === true) {
    return new CodedError('ERR_USAGE', error.message, { cause: error });
  }
  return CodedError.from(error);
}
