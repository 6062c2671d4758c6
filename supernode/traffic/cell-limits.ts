import type { Clock, Timer } from '../../core/base/clock.ts';
import type { Log } from '../../core/base/log.ts';
import { budgetNamed } from '../../core/swarm/budget-names.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import { Serial } from '../../core/store/serial.ts';
import type { StateStore } from '../../core/store/state-store.ts';
import type { Demand, Share } from '../../core/wire/messages.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { BudgetShares, LEASE_MS } from './budget-shares.ts';
import { CellBudgets, budgetsByName, changedBudgets, ratesByName } from './cell-budgets.ts';
import type { BudgetChanges } from './cell-budgets.ts';

/** A connected host, as far as its traffic is concerned. */
export interface LimitedHost {
  readonly peer: string;
  readonly idc?: string | undefined;
  /** False: it does not know of shares, and keeps to its own limits alone. */
  readonly takesShares: boolean;
  /** False: it knows of those of everything alone, not of those for one host of origins or idc. */
  readonly takesNamedShares?: boolean;
  share(message: Share): void;
}

/** One host's part. */
export interface HostShare {
  readonly peer: string;
  readonly takesShares: boolean;
  readonly download?: ShareRow;
  readonly origin?: ShareRow;
  /** Of budgets for one host of origins or two idcs, by name. */
  readonly named?: Readonly<Record<string, ShareRow>>;
}

/** Bytes per second of one budget: what it may move, and what it said it moved. */
export interface ShareRow {
  readonly share: number;
  readonly rate: number;
  readonly wantsMore: boolean;
}

/** What sessions with hosts tell of. */
export type LimitListener = Pick<CellLimits, 'connected' | 'disconnected' | 'demanded'>;

/** The budgets of everything: there are others, for one host of origins or two idcs. */
const totals = ['download', 'origin'] as const;

const TICK_MS = 500;
const KEY = 'budgets';
const parseBudgets = parser(CellBudgets, { code: 'ERR_STORE_IO' });

/** The budgets of the cell: kept across restarts, and split among the hosts that are connected. */
export class CellLimits implements AsyncDisposable {
  readonly #state: StateStore;
  readonly #setting = new Serial();
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #hosts = new Map<string, LimitedHost>();
  /** By the name of the budget. */
  readonly #shares = new Map<string, BudgetShares>();
  readonly #timer: Timer;
  #seq = 0;

  private constructor(
    state: StateStore,
    budgets: CellBudgets,
    parts: { readonly clock: Clock; readonly log: Log },
  ) {
    this.#state = state;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#setBudgets(budgets, true);
    this.#timer = parts.clock.every(TICK_MS, () => this.#tick());
  }

  /** Opens what is kept in `directory`; ERR_STORE_IO when it cannot be read. */
  static async open(
    directory: string,
    parts: { readonly clock: Clock; readonly log: Log },
  ): Promise<CellLimits> {
    const state = await LevelStateStore.openWhenFree(directory, { ...parts, waitMs: 5_000 });
    try {
      const row = await state.get(KEY);
      const budgets = row === undefined ? { download: 0, origin: 0 } : parseBudgets(row.value);
      return new CellLimits(state, budgets, parts);
    } catch (error) {
      await state.close();
      throw error;
    }
  }

  get budgets(): CellBudgets {
    return budgetsByName(new Map([...this.#shares].map(([name, { budget }]) => [name, budget])));
  }

  /** What all hosts together may move at this moment, at most, by budget. */
  get outstanding(): CellBudgets {
    const now = this.#clock.monotonic();
    const sums = [...this.#shares].map(
      ([name, shares]) => [name, Math.round(shares.outstanding(now))] as const,
    );
    return budgetsByName(new Map(sums));
  }

  /**
   * Sets some; kept durably when it resolves, in force at the hosts a moment later. ERR_REQUEST naming what is wrong with
   * the name of one.
   */
  async set(changes: BudgetChanges): Promise<void> {
    const budgets = await this.#setting.run(async () => {
      const value = changedBudgets(this.budgets, changes);
      await this.#state.commit([{ type: 'put', key: KEY, value }]);
      this.#setBudgets(value, false);
      return value;
    });
    this.#log.info({ ...budgets }, 'budgets of the cell set');
    this.#tick();
  }

  connected(host: LimitedHost): void {
    this.#hosts.set(host.peer, host);
    for (const [name, shares] of this.#shares) if (isFor(name, host)) shares.join(host.peer);
  }

  disconnected(host: LimitedHost): void {
    // It may be here again, by another connection.
    if (this.#hosts.get(host.peer) !== host) return;
    this.#hosts.delete(host.peer);
    for (const shares of this.#shares.values()) shares.leave(host.peer);
  }

  demanded({ peer }: LimitedHost, demand: Demand): void {
    const now = this.#clock.monotonic();
    for (const [name, shares] of this.#shares) {
      const { holds, named } = demand;
      const held = isTotal(name) ? holds?.[name] : holds?.named?.[name];
      if (held !== undefined) shares.claim(peer, held, { seq: this.#seq, now });
      const wanted = isTotal(name) ? demand[name] : named?.[name];
      if (wanted !== undefined) shares.report(peer, wanted, demand.seq);
    }
  }

  /** The hosts that are connected, and what each has. */
  hosts(): ReadonlyMap<string, () => HostShare> {
    return new Map([...this.#hosts.values()].map((host) => [host.peer, () => this.#rowOf(host)]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer.cancel();
    await this.#state.close();
  }

  #setBudgets(budgets: CellBudgets, isRestored: boolean): void {
    const rates = ratesByName(budgets);
    for (const name of new Set([...this.#shares.keys(), ...rates.keys()])) {
      this.#setBudget(name, rates.get(name) ?? 0, isRestored);
    }
  }

  #setBudget(name: string, budget: number, isRestored: boolean): void {
    const known = this.#shares.get(name);
    if (known !== undefined && budget > 0) {
      known.setBudget(budget);
      return;
    }
    if (known !== undefined) {
      this.#shares.delete(name);
      this.#lift();
      return;
    }
    if (budget === 0) return;
    const now = this.#clock.monotonic();
    const shares = new BudgetShares(budget, { now, isRestored });
    this.#shares.set(name, shares);
    for (const host of this.#hosts.values()) if (isFor(name, host)) shares.join(host.peer);
  }

  /** A budget is no more: all hosts are told what they still have of the others. */
  #lift(): void {
    this.#seq += 1;
    for (const host of this.#hosts.values()) if (host.takesShares) this.#send(host);
  }

  #tick(): void {
    if (this.#shares.size === 0) return;
    this.#seq += 1;
    const now = this.#clock.monotonic();
    const changed = new Set<string>();
    for (const shares of this.#shares.values()) {
      for (const peer of shares.split(now, this.#seq).keys()) changed.add(peer);
    }
    for (const peer of changed) {
      const host = this.#hosts.get(peer);
      if (host !== undefined) this.#send(host);
    }
  }

  #send(host: LimitedHost): void {
    const parts = [...this.#shares].flatMap(([name, shares]) => {
      const share = shares.shareOf(host.peer);
      return share === undefined ? [] : [[name, { rate: share.rate, after: share.after }] as const];
    });
    host.share({ type: 'share', seq: this.#seq, leaseMs: LEASE_MS, ...grouped(parts) });
  }

  #rowOf({ peer, takesShares }: LimitedHost): HostShare {
    const rows = [...this.#shares].flatMap(([name, shares]) => {
      const share = shares.shareOf(peer);
      const demand = shares.demandOf(peer);
      if (share === undefined || demand === undefined) return [];
      const { rate, wantsMore } = demand;
      return [[name, { share: share.rate, rate, wantsMore }] as const];
    });
    return { peer, takesShares, ...grouped(rows) };
  }
}

function isTotal(name: string): name is (typeof totals)[number] {
  return totals.some((total) => total === name);
}

/** True when the host has a share of the budget: of what two idcs exchange it is the taking one. */
function isFor(name: string, host: LimitedHost): boolean {
  if (isTotal(name)) return host.takesShares;
  if (host.takesNamedShares !== true) return false;
  const budget = budgetNamed(name);
  return budget?.kind === 'origin' || budget?.to === host.idc;
}

/** Of each budget one, as it goes over the wire: those with names apart. */
function grouped<T>(parts: readonly (readonly [string, T])[]): {
  download?: T;
  origin?: T;
  named?: Record<string, T>;
} {
  const named = parts.filter(([name]) => !isTotal(name));
  const all = parts.filter(([name]) => isTotal(name));
  return {
    ...Object.fromEntries(all),
    ...(named.length === 0 ? {} : { named: Object.fromEntries(named) }),
  };
}
