import type { RateLimiter } from '../net/pacing.ts';
import type { Demand, Share } from '../wire/messages.ts';

type Passed = Pick<RateLimiter, 'passedBytes' | 'heldBytes' | 'isHolding'>;

/** The limits of a host that budgets of the cell with names have shares of. */
export interface NamedLimits {
  /** Puts shares in force, bytes per second; of a name that is missing there is none any more. */
  setNamedShares(shares: ReadonlyMap<string, number>): void;
  /** What a limit did, and what is set on this host, 0 for no limit; undefined for a name that says nothing here. */
  namedLimit(name: string): { readonly limiter: Passed; readonly own: number } | undefined;
}

interface Row {
  readonly held: number;
  readonly passed: number;
}

/** What this host moves of each budget with a name: told to the supernode, which gives shares by it. */
export class NamedDemand {
  readonly #limits: NamedLimits;
  /** What was passed and held when it was last told; of the names that there are shares of. */
  readonly #last = new Map<string, Row>();
  #shares: ReadonlyMap<string, number> = new Map();

  constructor(limits: NamedLimits) {
    this.#limits = limits;
  }

  /** Puts shares in force, or what is left of them after the lease. */
  share(named: NonNullable<Share['named']>, part: 'rate' | 'after'): void {
    this.#shares = new Map(Object.entries(named).map(([name, share]) => [name, share[part]]));
    this.#limits.setNamedShares(this.#shares);
    for (const name of this.#last.keys()) if (!this.#shares.has(name)) this.#last.delete(name);
    for (const name of this.#shares.keys()) {
      if (!this.#last.has(name)) this.#last.set(name, this.#row(name));
    }
  }

  /** Since it was last told. */
  get hasMoved(): boolean {
    return this.#last.entries().some(([name, { passed }]) => this.#row(name).passed > passed);
  }

  /** Somebody waits, or had to since it was last told. */
  get wantsMore(): boolean {
    return this.#last.keys().some((name) => this.#wantsMore(name));
  }

  /** For a message; from now on it counts anew. */
  told(seconds: number): Pick<Demand, 'named'> {
    if (this.#last.size === 0) return {};
    const rows = [...this.#last].map(([name, { passed }]) => {
      const rate = Math.round(Math.max(0, this.#row(name).passed - passed) / seconds);
      const most = this.#limits.namedLimit(name)?.own ?? 0;
      return [name, { rate, wantsMore: this.#wantsMore(name), most }] as const;
    });
    for (const name of this.#last.keys()) this.#last.set(name, this.#row(name));
    return { named: Object.fromEntries(rows) };
  }

  /** What is held, for a supernode that may have forgotten. */
  get holds(): { readonly named?: Record<string, number> } {
    return this.#shares.size === 0 ? {} : { named: Object.fromEntries(this.#shares) };
  }

  #wantsMore(name: string): boolean {
    const isHolding = this.#limits.namedLimit(name)?.limiter.isHolding === true;
    return isHolding || this.#row(name).held > (this.#last.get(name)?.held ?? 0);
  }

  #row(name: string): Row {
    const limiter = this.#limits.namedLimit(name)?.limiter;
    return { passed: limiter?.passedBytes ?? 0, held: limiter?.heldBytes ?? 0 };
  }
}
