import type { Clock } from '../base/clock.ts';
import { KeyedRates } from '../net/keyed-rates.ts';
import { OriginHostLimits } from '../origin/origin-host-limit.ts';
import type { OriginHostLimit } from '../origin/origin-host-limit.ts';
import { budgetNamed } from './budget-names.ts';
import type { NamedLimits } from './named-demand.ts';

/** The limits of a host for parts of what it moves: each host of origins, and each idc that it takes pieces from. */
export class PartLimits implements NamedLimits {
  readonly originHosts: KeyedRates;
  /** By the idc of the parent; there is no limit but a share of the cell's. */
  readonly idcs: KeyedRates;

  constructor(originHosts: readonly OriginHostLimit[], clock: Clock) {
    const hosts = new OriginHostLimits(originHosts);
    this.originHosts = new KeyedRates((host) => hosts.rateOf(host), clock);
    this.idcs = new KeyedRates(() => 0, clock);
  }

  setNamedShares(shares: ReadonlyMap<string, number>): void {
    const hosts = new Map<string, number>();
    const idcs = new Map<string, number>();
    for (const [name, rate] of shares) {
      const budget = budgetNamed(name);
      if (budget?.kind === 'origin') hosts.set(budget.host, rate);
      else if (budget !== undefined) idcs.set(budget.from, rate);
    }
    this.originHosts.setShares(hosts);
    this.idcs.setShares(idcs);
  }

  namedLimit(name: string): ReturnType<NamedLimits['namedLimit']> {
    const budget = budgetNamed(name);
    if (budget === undefined) return undefined;
    const [rates, key] =
      budget.kind === 'origin' ? [this.originHosts, budget.host] : [this.idcs, budget.from];
    return { limiter: rates.limiter(key), own: rates.own(key) };
  }
}
