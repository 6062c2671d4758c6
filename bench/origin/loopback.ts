import { SystemClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { SeededRandom } from '../../core/base/random.ts';
import { AddressGuard } from '../../core/origin/address-guard.ts';
import { OriginConnections } from '../../core/origin/origin-connections.ts';
import type { OriginConnectionsOptions } from '../../core/origin/origin-connections.ts';
import type { OriginOptions } from '../../core/origin/origin.ts';

/** Connections that may go to this machine. */
export function loopbackConnections(
  options: Partial<OriginConnectionsOptions> = {},
): OriginConnections {
  const guard = new AddressGuard({ allow: ['127.0.0.0/8', '::1'] });
  return new OriginConnections({ guard, clock: new SystemClock(), ...options });
}

/** Options to read an origin on this machine with: retries within milliseconds, timeouts that a loaded machine keeps. */
export function loopbackOptions(
  connections: OriginConnections,
  options: Partial<OriginOptions> = {},
): OriginOptions {
  return {
    connections,
    clock: new SystemClock(),
    random: new SeededRandom(1),
    log: silentLog,
    signal: new AbortController().signal,
    ...options,
    limits: {
      headersTimeoutMs: 5000,
      stallTimeoutMs: 5000,
      retryFirstMs: 2,
      retryMaxMs: 8,
      ...options.limits,
    },
  };
}
