/** What can go wrong with an output, as coded errors that name it. */
import { CodedError, systemCode } from '../base/error.ts';

/** Runs `work` on an output; a failure of the system becomes ERR_NO_SPACE or ERR_OUTPUT_UNWRITABLE naming it. */
export async function onOutput<T>(output: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = systemCode(error);
    if (error instanceof CodedError || code === undefined) throw error;
    if (code === 'ENOSPC' || code === 'EDQUOT') throw noSpace(output, { systemCode: code }, error);
    throw unwritable(output, code, error);
  }
}

export function existsError(output: string, cause?: unknown): CodedError {
  return new CodedError('ERR_OUTPUT_EXISTS', `${output} exists already`, {
    cause,
    detail: { output },
  });
}

export function notAFile(output: string): CodedError {
  return new CodedError('ERR_OUTPUT_UNWRITABLE', `${output} is not a regular file`, {
    detail: { output, systemCode: 'EEXIST' },
  });
}

export function unwritable(output: string, code: string, cause?: unknown): CodedError {
  return new CodedError('ERR_OUTPUT_UNWRITABLE', `cannot write ${output}: ${code}`, {
    cause,
    detail: { output, systemCode: code },
  });
}

export function noSpace(
  output: string,
  facts: Readonly<Record<string, string | number>>,
  cause?: unknown,
): CodedError {
  return new CodedError('ERR_NO_SPACE', `no room for ${output}`, {
    cause,
    detail: { output, ...facts },
  });
}

/** ERR_STORE_IO about the file that an output is made of. */
export function sourceError(path: string, cause: unknown): CodedError {
  return new CodedError('ERR_STORE_IO', 'the content cannot be read from the data folder', {
    cause,
    detail: { path, systemCode: systemCode(cause) ?? 'unknown' },
  });
}
