import { CodedError, systemCode } from '../../core/base/error.ts';
import { formatHostPort } from '../../core/base/addresses.ts';

/** Why a port cannot be listened on, naming the flag to change: ERR_ADDRESS_IN_USE, ERR_CONFIG or ERR_INTERNAL. */
export function listenError(
  cause: unknown,
  options: { readonly host: string; readonly port: number; readonly portFlag: string },
): CodedError {
  const { host, port, portFlag } = options;
  const where = formatHostPort({ host, port });
  switch (systemCode(cause)) {
    case 'EADDRINUSE':
      return new CodedError('ERR_ADDRESS_IN_USE', `${portFlag}: ${where} is taken`, {
        cause,
        detail: { host, port },
      });
    case 'EADDRNOTAVAIL':
      return new CodedError('ERR_CONFIG', `--listen: ${host} is no address of this machine`, {
        cause,
      });
    case 'EACCES':
      return new CodedError('ERR_CONFIG', `${portFlag}: this user may not listen on ${where}`, {
        cause,
      });
    default:
      return CodedError.from(cause);
  }
}
