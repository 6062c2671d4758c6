import type { Clock } from '../../core/base/clock.ts';
import type { Log } from '../../core/base/log.ts';
import type { HostLimits } from '../../core/swarm/host-limits.ts';
import { ShareKeeper } from '../../core/swarm/share-keeper.ts';
import type { CellLimits, LimitedHost } from './cell-limits.ts';

/** Makes the seed of this supernode keep to the budgets like any host: it takes more from origins than all of them. */
export function limitSeed(
  peer: string,
  parts: {
    readonly cell: CellLimits;
    readonly idc?: string | undefined;
    readonly limits: HostLimits;
    readonly clock: Clock;
    readonly log: Log;
  },
): Disposable {
  const { cell, idc, limits, clock, log } = parts;
  const keeper: ShareKeeper = new ShareKeeper({
    limits,
    named: limits.parts,
    send: (demand) => cell.demanded(host, demand),
    clock,
    log,
  });
  const host: LimitedHost = {
    peer,
    idc,
    takesShares: true,
    takesNamedShares: true,
    share: (share) => keeper.take(share),
  };
  cell.connected(host);
  return keeper;
}
