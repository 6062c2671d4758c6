import type { Clock } from '../../core/base/clock.ts';
import type { Log } from '../../core/base/log.ts';
import { RateLimiter } from '../../core/net/pacing.ts';
import { HostLimits } from '../../core/swarm/host-limits.ts';
import { ShareKeeper } from '../../core/swarm/share-keeper.ts';
import type { TransferPool } from '../../core/swarm/transfer-pool.ts';
import type { CellLimits, LimitedHost } from './cell-limits.ts';

/** Makes the seed of this supernode keep to the budgets like any host: it takes more from origins than all of them. */
export function limitSeed(
  peer: string,
  parts: {
    readonly limits: CellLimits;
    readonly pool: TransferPool;
    /** Its own, bytes per second. */
    readonly own: { readonly upload: number; readonly origin: number };
    readonly clock: Clock;
    readonly log: Log;
  },
): Disposable {
  const { limits: cell, pool, own, clock, log } = parts;
  // The seed takes nothing from other hosts by a limiter of its own.
  const download = new RateLimiter(0, clock);
  const limits = new HostLimits(
    { download: 0, ...own },
    { download, setWorkers: async (workers) => pool.setLimits(workers) },
  );
  const keeper: ShareKeeper = new ShareKeeper({
    limits,
    passages: async () => ({ download: limits.passage, origin: await pool.originPassage() }),
    send: (demand) => cell.demanded(host, demand),
    clock,
    log,
  });
  const host: LimitedHost = { peer, takesShares: true, share: (share) => keeper.take(share) };
  cell.connected(host);
  return keeper;
}
