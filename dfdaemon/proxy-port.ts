import { CodedError, systemCode } from '../core/base/error.ts';
import { formatHostPort } from '../core/base/addresses.ts';
import type { Log } from '../core/base/log.ts';
import { addHealthRoutes } from './local-api/host-routes.ts';
import { newHttpServer } from './local-api/http-server.ts';
import type { ServedHost } from './local-api/served-host.ts';

const MAX_CONNECTIONS = 256;

/** The HTTP server on `--proxy-port`: health and metrics. */
export interface ProxyPort extends AsyncDisposable {
  /** The port it has. */
  readonly port: number;
}

/** Listens; throws ERR_ADDRESS_IN_USE or ERR_USAGE naming flag and address. */
export async function openProxyPort(options: {
  readonly host: ServedHost;
  readonly listen: { readonly host: string; readonly port: number };
  readonly log: Log;
}): Promise<ProxyPort> {
  const { host, listen, log } = options;
  const server = newHttpServer({ log, maxConnections: MAX_CONNECTIONS });
  addHealthRoutes(server, host);
  try {
    await server.listen(listen);
  } catch (error) {
    await server.close();
    throw listenError(listen, error);
  }
  const [address] = server.addresses();
  return {
    port: typeof address === 'object' ? address.port : listen.port,
    [Symbol.asyncDispose]: async () => server.close(),
  };
}

function listenError(
  listen: { readonly host: string; readonly port: number },
  cause: unknown,
): CodedError {
  const address = formatHostPort(listen);
  const code = systemCode(cause) ?? 'unknown';
  if (code === 'EADDRINUSE') {
    return new CodedError('ERR_ADDRESS_IN_USE', `--proxy-port: ${address} is taken`, { cause });
  }
  const flag = code === 'EADDRNOTAVAIL' ? '--listen' : '--proxy-port';
  return new CodedError('ERR_USAGE', `${flag}: cannot listen on ${address} (${code})`, { cause });
}
