import { once } from 'node:events';
import { createServer } from 'node:net';
import { CodedError, systemCode } from '../base/error.ts';

/** A port that nobody else listens on; ERR_ADDRESS_IN_USE when the asked one is taken. */
export async function claimPort(listen: {
  readonly host: string;
  readonly port: number;
}): Promise<number> {
  const server = createServer();
  try {
    server.listen({ host: listen.host, port: listen.port });
    await once(server, 'listening');
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : listen.port;
  } catch (error) {
    if (systemCode(error) !== 'EADDRINUSE') throw error;
    throw new CodedError('ERR_ADDRESS_IN_USE', `${listen.host}:${listen.port} is in use`, {
      cause: error,
      detail: { ...listen },
    });
  } finally {
    server.close();
  }
}
