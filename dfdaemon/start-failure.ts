import { formatHostPort } from '../core/base/addresses.ts';
import { CodedError } from '../core/base/error.ts';
import type { DaemonPlan } from './config.ts';

/** A failure to open the engine, told in the operator's words: which flag, which folder, which port. */
export function startFailure(error: unknown, plan: DaemonPlan): CodedError {
  const coded = CodedError.from(error);
  const message = messageOf(coded, plan);
  return new CodedError(coded.code, message, { cause: error, detail: coded.detail });
}

function messageOf(error: CodedError, plan: DaemonPlan): string {
  const { storeDir, listen } = plan.engine;
  const folder = plan.isInMemory ? '--memory-dir' : '--data-dir';
  const given = error.message;
  // A message that names its flag already was made for the operator.
  if (given.startsWith('--')) return given;
  switch (error.code) {
    case 'ERR_STORE_LOCKED':
      return `${folder}: another process uses ${storeDir}`;
    case 'ERR_STORE_NEWER':
    case 'ERR_STORE_IO':
    case 'ERR_NO_SPACE':
      return `${folder}: ${storeDir}: ${given}${systemCodeOf(error)}`;
    case 'ERR_ADDRESS_IN_USE':
    case 'ERR_LINK':
      return `--link-port: ${listen === undefined ? '' : `${formatHostPort(listen)}: `}${given}`;
    case 'ERR_TOKEN':
    case 'ERR_TOKEN_GRANT':
      return `--join-token: ${given}`;
    case 'ERR_KEY_FILE':
      return `--data-dir: ${given}`;
    default:
      return given;
  }
}

function systemCodeOf(error: CodedError): string {
  const { systemCode } = error.detail;
  return typeof systemCode === 'string' ? ` (${systemCode})` : '';
}
