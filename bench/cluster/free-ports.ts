import { createServer } from 'node:net';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { SystemRandom } from '../../core/base/random.ts';

// Below what Linux gives to outgoing connections (32768 up), so that a port is still free when its program is
// started again.
const FIRST_PORT = 20_000;
const PORTS = 12_000;
const TRIES = 100;
const random = new SystemRandom();

/** `count` ports of `address` that nobody has now; somebody may take one before you do. */
export async function freePorts(address: string, count: number): Promise<number[]> {
  const ports = new Set<number>();
  for (let tries = 0; ports.size < count; tries += 1) {
    if (tries === TRIES) {
      throw new CodedError('ERR_ADDRESS_IN_USE', `no free port on ${address} in ${TRIES} tries`);
    }
    const port = FIRST_PORT + random.below(PORTS);
    if (await isFree(address, port)) ports.add(port);
  }
  return [...ports];
}

/** Whether this machine lets a program listen on `address` (macOS has only 127.0.0.1 until told otherwise). */
export async function isOwnAddress(address: string): Promise<boolean> {
  return isFree(address, 0);
}

async function isFree(address: string, port: number): Promise<boolean> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(port, address, resolve);
    });
    return true;
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EADDRINUSE' || code === 'EADDRNOTAVAIL') return false;
    throw error;
  } finally {
    await new Promise<void>((resolve) => void server.close(() => resolve()));
  }
}
