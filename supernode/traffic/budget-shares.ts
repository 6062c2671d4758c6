import { waterFill } from './water-fill.ts';

/** What a host said of its traffic, bytes per second. */
export interface Demand {
  /** What it moved. */
  readonly rate: number;
  /** It would have moved more, had it been allowed to. */
  readonly wantsMore: boolean;
  /** Its own limit, which no share lifts; 0 for none. */
  readonly most: number;
}

/** What a host may move, bytes per second: `rate` while its lease lasts, `after` once it has run out in silence. */
export interface Share {
  readonly rate: number;
  readonly after: number;
}

interface Grant extends Share {
  readonly seq: number;
  readonly sentMs: number;
}

interface Holder {
  isConnected: boolean;
  demand: Demand;
  acked: number;
  /** Oldest first; the host may act on any of them: the last it is known to have taken, and those sent since. */
  grants: Grant[];
}

/** How long a share holds at a host that hears nothing, from when it was received. */
export const LEASE_MS = 30_000;
/** The same from when it was sent: what takes longer than the difference to arrive comes over no connection that lives. */
const HELD_MS = LEASE_MS * 1.5;
/** What a silent host goes on with is kept for it for so long. */
const FORGET_MS = 10 * 60_000;
/** Past so many hosts, silent ones included, the first to have come of the silent ones is forgotten. */
const MAX_HOLDERS = 20_000;
const RENEW_MS = LEASE_MS / 3;
/** A host that has not answered a share for so long gets no other. */
const ANSWER_MS = 5_000;
/** Kept free, so that who comes new need not wait until others have given back. */
const RESERVE = 0.01;
/** Of the budget, divided among all: what each has however little it wants. */
const FLOORS = 0.01;
/** A change that is worth a message. */
const WORTH = 0.02;
/** Room to grow, for who does not use what he has. */
const HEADROOM = 1.5;
const NO_DEMAND: Demand = { rate: 0, wantsMore: false, most: 0 };

/**
 * One budget of the cell, and who has how much of it. A share counts against the budget until its host has said that it
 * took a smaller one, or its lease has run out: so what hosts may move together never exceeds the budget, whatever is
 * lost or late. Only lowering the budget itself takes effect as hosts answer.
 */
export class BudgetShares {
  readonly #holders = new Map<string, Holder>();
  readonly #maxHolders: number;
  #budget: number;
  /** What hosts may hold of the time before this program started, and until when. */
  #former: { left: number; readonly untilMs: number };

  /** `isRestored`: the budget was in force before this program started, so hosts may hold shares that it does not know. */
  constructor(
    budget: number,
    options: { readonly now: number; readonly isRestored: boolean; readonly maxHolders?: number },
  ) {
    this.#budget = budget;
    this.#maxHolders = options.maxHolders ?? MAX_HOLDERS;
    const left = options.isRestored ? budget * (1 - RESERVE) : 0;
    this.#former = { left, untilMs: options.now + HELD_MS };
  }

  get budget(): number {
    return this.#budget;
  }

  setBudget(bytesPerSecond: number): void {
    this.#budget = bytesPerSecond;
  }

  /** A host is there; what it had before counts until it has answered. */
  join(host: string): void {
    const holder = this.#holders.get(host);
    const last = holder?.grants.at(-1);
    this.#holders.set(host, {
      isConnected: true,
      demand: NO_DEMAND,
      // What its last connection still carried arrives no more, and no answer to it comes.
      acked: last?.seq ?? 0,
      grants: (holder?.grants ?? []).map((grant) => ({ ...grant, seq: last?.seq ?? 0 })),
    });
  }

  /** A host is gone, or only its connection. */
  leave(host: string): void {
    const holder = this.#holders.get(host);
    if (holder !== undefined) holder.isConnected = false;
  }

  /** A host holds a share of an earlier supernode, and comes back with it. */
  claim(host: string, rate: number, about: { readonly seq: number; readonly now: number }): void {
    const holder = this.#holders.get(host);
    if (holder === undefined || holder.grants.length > 0) return;
    if (about.now >= this.#former.untilMs) return;
    const claimed = Math.min(rate, this.#former.left);
    this.#former.left -= claimed;
    holder.grants.push({ rate: claimed, after: 0, seq: about.seq, sentMs: about.now });
    holder.acked = about.seq;
  }

  /** What a host says it moved, and the last share that it took. */
  report(host: string, demand: Demand, seq: number): void {
    const holder = this.#holders.get(host);
    if (holder === undefined) return;
    holder.demand = demand;
    holder.acked = Math.max(holder.acked, Math.min(seq, holder.grants.at(-1)?.seq ?? 0));
    holder.grants = holder.grants.filter(
      (grant, at) => grant.seq >= holder.acked || at === holder.grants.length - 1,
    );
  }

  /** The share that a host was sent last. */
  shareOf(host: string): Share | undefined {
    return this.#holders.get(host)?.grants.at(-1);
  }

  demandOf(host: string): Demand | undefined {
    return this.#holders.get(host)?.demand;
  }

  /** What all hosts together may move at this moment, at most. */
  outstanding(now: number): number {
    let sum = now < this.#former.untilMs ? this.#former.left : 0;
    for (const holder of this.#holders.values()) sum += boundOf(holder, now);
    return sum;
  }

  /** The shares to send now, by host; they count as sent. `seq` grows from call to call. */
  split(now: number, seq: number): ReadonlyMap<string, Share> {
    this.#forget(now);
    const hosts = [...this.#holders].filter(([, holder]) => isListening(holder, now));
    const listening = new Set(hosts.map(([host]) => host));
    let elsewhere = now < this.#former.untilMs ? this.#former.left : 0;
    for (const [host, holder] of this.#holders) {
      if (!listening.has(host)) elsewhere += boundOf(holder, now);
    }
    const floor = (this.#budget * FLOORS) / Math.max(1, hosts.length);
    const wants = hosts.map(([, { demand }]) => wantOf(demand));
    const usable = Math.max(0, this.#budget * (1 - RESERVE) - elsewhere);
    const targets = waterFill(usable, wants, floor);
    return this.#send(hosts, { targets, floor: Math.floor(floor), now, seq });
  }

  /** Who is to have less is told at once; who is to have more, as far as there is something free. */
  #send(
    hosts: readonly (readonly [string, Holder])[],
    plan: {
      readonly targets: readonly number[];
      readonly floor: number;
      readonly now: number;
      readonly seq: number;
    },
  ): Map<string, Share> {
    const { targets, floor, now, seq } = plan;
    const bounds = hosts.map(([, holder]) => boundOf(holder, now));
    const least = hosts.map((_host, at) => Math.max(targets[at] ?? 0, floor));
    const more = least.map((rate, at) => Math.max(0, rate - (bounds[at] ?? 0)));
    const free = Math.max(0, this.#budget - this.outstanding(now));
    const part = Math.min(1, free / Math.max(1, sumOf(more)));
    const sent = new Map<string, Share>();
    for (const [at, [host, holder]] of hosts.entries()) {
      const bound = bounds[at] ?? 0;
      const rate = Math.floor(Math.min(least[at] ?? 0, bound + (more[at] ?? 0) * part));
      if (!isWorth(holder.grants.at(-1), rate, now)) continue;
      const share = { rate, after: Math.min(rate, floor) };
      holder.grants.push({ ...share, seq, sentMs: now });
      sent.set(host, share);
    }
    return sent;
  }

  #forget(now: number): void {
    for (const [host, { isConnected, grants }] of this.#holders) {
      const last = grants.at(-1);
      if (isConnected) continue;
      const isKept = last !== undefined && now < last.sentMs + HELD_MS + FORGET_MS;
      if (isKept && this.#holders.size <= this.#maxHolders) continue;
      this.#holders.delete(host);
    }
  }
}

/** The most that the host may move at this moment, whichever of its shares it goes by. */
function boundOf({ grants }: Holder, now: number): number {
  return grants.reduce((most, { rate, after, sentMs }) => {
    return Math.max(most, now < sentMs + HELD_MS ? rate : after);
  }, 0);
}

/** False for a host that is gone, or that has left a share unanswered. */
function isListening({ isConnected, grants, acked }: Holder, now: number): boolean {
  const unanswered = grants.find(({ seq }) => seq > acked);
  return isConnected && (unanswered === undefined || now < unanswered.sentMs + ANSWER_MS);
}

function wantOf({ rate, wantsMore, most }: Demand): number {
  const want = wantsMore ? Number.POSITIVE_INFINITY : rate * HEADROOM;
  return most > 0 ? Math.min(want, most) : want;
}

function isWorth(last: Grant | undefined, rate: number, now: number): boolean {
  if (last === undefined || now >= last.sentMs + RENEW_MS) return true;
  return Math.abs(rate - last.rate) > last.rate * WORTH;
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}
