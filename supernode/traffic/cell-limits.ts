import { Type } from 'typebox';
import type { Static } from 'typebox';
import type { Clock, Timer } from '../../core/base/clock.ts';
import type { Log } from '../../core/base/log.ts';
import type { Demand, Share } from '../../core/wire/messages.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { DurableState } from '../state/durable-state.ts';
import { BudgetShares, LEASE_MS } from './budget-shares.ts';

/** What all hosts of the cell together may move, bytes per second; 0 is no limit. */
export const CellBudgets = Type.Object({
  /** Payload that hosts take from each other and from the seed. */
  download: Type.Integer({ minimum: 0 }),
  /** Payload that hosts and the seed take from origins. */
  origin: Type.Integer({ minimum: 0 }),
});
export type CellBudgets = Static<typeof CellBudgets>;

/** A connected host, as far as its traffic is concerned. */
export interface LimitedHost {
  readonly peer: string;
  /** False: it does not know of shares, and keeps to its own limits alone. */
  readonly takesShares: boolean;
  share(message: Share): void;
}

/** One host's part. */
export interface HostShare {
  readonly peer: string;
  readonly takesShares: boolean;
  readonly download?: ShareRow;
  readonly origin?: ShareRow;
}

/** Bytes per second of one budget: what it may move, and what it said it moved. */
export interface ShareRow {
  readonly share: number;
  readonly rate: number;
  readonly wantsMore: boolean;
}

/** What sessions with hosts tell of. */
export type LimitListener = Pick<CellLimits, 'connected' | 'disconnected' | 'demanded'>;

/** The names of the budgets. */
export const budgetNames = ['download', 'origin'] as const;
type BudgetName = (typeof budgetNames)[number];

const TICK_MS = 500;
const KEY = 'budgets';
const parseBudgets = parser(CellBudgets, { code: 'ERR_STORE_IO' });

/** The budgets of the cell: kept across restarts, and split among the hosts that are connected. */
export class CellLimits implements AsyncDisposable {
  readonly #state: DurableState;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #hosts = new Map<string, LimitedHost>();
  readonly #shares = new Map<BudgetName, BudgetShares>();
  readonly #timer: Timer;
  #seq = 0;

  private constructor(
    state: DurableState,
    budgets: CellBudgets,
    parts: { readonly clock: Clock; readonly log: Log },
  ) {
    this.#state = state;
    this.#clock = parts.clock;
    this.#log = parts.log;
    for (const name of budgetNames) this.#setBudget(name, budgets[name], true);
    this.#timer = parts.clock.every(TICK_MS, () => this.#tick());
  }

  /** Opens what is kept in `directory`; ERR_STORE_IO when it cannot be read. */
  static async open(
    directory: string,
    parts: { readonly clock: Clock; readonly log: Log },
  ): Promise<CellLimits> {
    const state = await DurableState.openWhenFree(directory, { ...parts, waitMs: 5_000 });
    try {
      const row = state.get(KEY);
      const budgets = row === undefined ? { download: 0, origin: 0 } : parseBudgets(row);
      return new CellLimits(state, budgets, parts);
    } catch (error) {
      await state.close();
      throw error;
    }
  }

  get budgets(): CellBudgets {
    return { download: this.#budgetOf('download'), origin: this.#budgetOf('origin') };
  }

  /** What all hosts together may move at this moment, at most, by budget. */
  get outstanding(): CellBudgets {
    const now = this.#clock.monotonic();
    const sum = (name: BudgetName): number =>
      Math.round(this.#shares.get(name)?.outstanding(now) ?? 0);
    return { download: sum('download'), origin: sum('origin') };
  }

  /** Sets some; kept durably when it resolves, in force at the hosts a moment later. */
  async set(changes: Partial<CellBudgets>): Promise<void> {
    const budgets = await this.#state.update(async () => {
      const value = { ...this.budgets, ...changes };
      return { changes: [{ type: 'put', key: KEY, value }], result: value };
    });
    for (const name of budgetNames) this.#setBudget(name, budgets[name], false);
    this.#log.info({ ...budgets }, 'budgets of the cell set');
    this.#tick();
  }

  connected(host: LimitedHost): void {
    this.#hosts.set(host.peer, host);
    if (!host.takesShares) return;
    for (const shares of this.#shares.values()) shares.join(host.peer);
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
      const holds = demand.holds?.[name];
      if (holds !== undefined) shares.claim(peer, holds, { seq: this.#seq, now });
      shares.report(peer, demand[name], demand.seq);
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

  #budgetOf(name: BudgetName): number {
    return this.#shares.get(name)?.budget ?? 0;
  }

  #setBudget(name: BudgetName, budget: number, isRestored: boolean): void {
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
    for (const { peer, takesShares } of this.#hosts.values()) if (takesShares) shares.join(peer);
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
    const parts = budgetNames.flatMap((name) => {
      const share = this.#shares.get(name)?.shareOf(host.peer);
      return share === undefined ? [] : [[name, { rate: share.rate, after: share.after }] as const];
    });
    host.share({
      type: 'share',
      seq: this.#seq,
      leaseMs: LEASE_MS,
      ...Object.fromEntries(parts),
    });
  }

  #rowOf({ peer, takesShares }: LimitedHost): HostShare {
    const rows = budgetNames.flatMap((name) => {
      const shares = this.#shares.get(name);
      const share = shares?.shareOf(peer);
      const demand = shares?.demandOf(peer);
      if (share === undefined || demand === undefined) return [];
      const { rate, wantsMore } = demand;
      return [[name, { share: share.rate, rate, wantsMore }] as const];
    });
    return { peer, takesShares, ...Object.fromEntries(rows) };
  }
}
