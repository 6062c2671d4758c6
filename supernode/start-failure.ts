import { CodedError } from '../core/base/error.ts';
import type { SupernodePlan } from './config.ts';

/** A failure to start, told in the operator's words: which flag, which folder, which port. */
export function startFailure(error: unknown, plan: SupernodePlan): CodedError {
  const coded = CodedError.from(error);
  const message = messageOf(coded, plan);
  return new CodedError(coded.code, message, { cause: error, detail: coded.detail });
}

function messageOf(error: CodedError, plan: SupernodePlan): string {
  const { dataDir, linkPort } = plan.supernode;
  const given = error.message;
  // A message that names its flag already was made for the operator.
  if (given.startsWith('--')) return given;
  switch (error.code) {
    case 'ERR_STORE_LOCKED':
      return `--data-dir: another supernode runs on ${dataDir}`;
    case 'ERR_STORE_NEWER':
    case 'ERR_STORE_IO':
    case 'ERR_NO_SPACE':
    case 'ERR_KEY_FILE':
      return `--data-dir: ${given}`;
    case 'ERR_ADDRESS_IN_USE':
      return `${portOf(error) === linkPort ? '--link-port' : '--mesh-port'}: ${given}`;
    default:
      return given;
  }
}

function portOf(error: CodedError): number | undefined {
  const { port } = error.detail;
  return typeof port === 'number' ? port : Number(/\bport (\d+)/.exec(error.message)?.[1]);
}
