import { errorCodes } from './error-codes.ts';
import type { ErrorClass, ErrorCode, ErrorFacts } from './error-codes.ts';

/** What an error looks like on the wire, in `--json` and in logs. */
export interface ErrorObject {
  readonly code: ErrorCode;
  readonly class: ErrorClass;
  readonly message: string;
  readonly retryable: boolean;
  readonly next: string;
  /** Facts of this one failure: numbers, names, addresses; never secrets. */
  readonly detail?: Readonly<Record<string, string | number | boolean>>;
}

/** The facts that go with one failure. */
export type ErrorDetail = Readonly<Record<string, string | number | boolean>>;

/** The one error class of the programs: a stable code from the table, a sentence, and the facts. */
export class CodedError extends Error {
  override readonly name = 'CodedError';
  readonly code: ErrorCode;
  readonly detail: ErrorDetail;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; detail?: ErrorDetail } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.detail = options.detail ?? {};
  }

  /** Class, retryable, exit code, HTTP status and advice of this code. */
  get facts(): ErrorFacts {
    return errorCodes[this.code];
  }

  toObject(): ErrorObject {
    const { facts, code, message, detail } = this;
    const base = {
      code,
      class: facts.class,
      message,
      retryable: facts.retryable,
      next: facts.next,
    };
    return Object.keys(detail).length === 0 ? base : { ...base, detail };
  }

  /** Rebuilds an error that crossed a thread or the wire; an unknown code becomes ERR_INTERNAL. */
  static fromObject(value: { code: string; message: string; detail?: unknown }): CodedError {
    const code: ErrorCode = isErrorCode(value.code) ? value.code : 'ERR_INTERNAL';
    return new CodedError(code, value.message, { detail: plainDetail(value.detail) });
  }

  /** `error` itself when coded; an abort as ERR_INTERRUPTED, a timeout as ERR_TIMEOUT, anything else as ERR_INTERNAL. */
  static from(error: unknown): CodedError {
    if (error instanceof CodedError) return error;
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof Error && error.name === 'TimeoutError') {
      return new CodedError('ERR_TIMEOUT', message, { cause: error });
    }
    if (error instanceof Error && error.name === 'AbortError') {
      return new CodedError('ERR_INTERRUPTED', message, { cause: error });
    }
    return new CodedError('ERR_INTERNAL', message, { cause: error });
  }
}

/** True for a code of the table. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorCodes, code);
}

/** The system's own code (`ENOENT`, `ECONNREFUSED`) of an error, if it has one. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

function plainDetail(value: unknown): ErrorDetail {
  if (typeof value !== 'object' || value === null) return {};
  const detail: Record<string, string | number | boolean> = {};
  for (const [key, item] of Object.entries(value)) {
    if (typeof item === 'string' || typeof item === 'number' || typeof item === 'boolean') {
      detail[key] = item;
    }
  }
  return detail;
}
