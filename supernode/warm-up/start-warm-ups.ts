import { join } from 'node:path';
import type { Clock } from '../../core/base/clock.ts';
import type { Log } from '../../core/base/log.ts';
import type { Random } from '../../core/base/random.ts';
import { AddressGuard } from '../../core/origin/address-guard.ts';
import { OriginConnections } from '../../core/origin/origin-connections.ts';
import type { PushOptions } from './push-options.ts';
import { resolveImage } from './resolve-image.ts';
import { WarmUps } from './warm-ups.ts';

interface WarmUpOptions {
  readonly dataDir: string;
  readonly meshPort: number;
  readonly linkPort: number;
  readonly httpPort: number;
  readonly originAllow: readonly string[];
  readonly push?: PushOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const CONNECTIONS_PER_REGISTRY = 8;

/** Opens warm-ups on what is kept of them, with connections to registries that `guard` watches; `stack` closes both. */
export async function startWarmUps(
  options: WarmUpOptions,
  stack: AsyncDisposableStack,
): Promise<{ readonly warmUps: WarmUps; readonly guard: AddressGuard }> {
  const { dataDir, originAllow, clock, random, log, push } = options;
  const guard = new AddressGuard({ allow: originAllow });
  const { meshPort, linkPort, httpPort } = options;
  // Those that are free to choose are added when they are known.
  guard.addOwnPorts([meshPort, linkPort, httpPort].filter((port) => port !== 0));
  const connections = stack.use(
    new OriginConnections({ guard, clock, connectionsPerHost: CONNECTIONS_PER_REGISTRY }),
  );
  const parts = { connections, clock, random, log };
  const warmUps = await WarmUps.open({
    directory: join(dataDir, 'warm-ups'),
    clock,
    random,
    log,
    resolveImage: async ({ image, platforms = [], credentials }, { source, signal }) => {
      const own = source === 'push' ? push?.credentials : undefined;
      const wish = { image, platforms, credentials: credentials ?? own };
      return resolveImage(wish, parts, { signal });
    },
  });
  return { warmUps: stack.use(warmUps), guard };
}
