import { abortable } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { priorities, yieldsTo } from '../base/priority.ts';
import type { Priority } from '../base/priority.ts';
import { FairLine } from '../net/fair-line.ts';
import type { Account } from '../net/fair-line.ts';

/** One request of a class is not yet a competition: it may wait for something else than this host's link. */
const COMPETING = 2;
/** Requests are taken back for the sake of a more important class no more often than this. */
const TAKE_BACK_MS = 2_000;

interface Running {
  readonly priority: Priority;
  readonly onYield: () => void;
}

/** One request for a piece. */
export interface TurnRequest {
  readonly bytes: number;
  readonly account: Account;
  readonly signal: AbortSignal;
  /** A more important class wants the link: take the request back if nothing has come of it. */
  readonly onYield: () => void;
}

/**
 * The requests of all tasks of a host. Where no rate is set its own link may be what they compete for, and who has
 * most requests under way gets most of it: while a class that is much more important wants something, those that yield
 * to it have one request under way together, in turns. So they go on, and the link is not theirs.
 */
export class RequestTurns {
  readonly #clock: Clock;
  readonly #running = new Set<Running>();
  readonly #line = new FairLine<() => void>();
  #tookBackMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Requests under way. */
  get running(): number {
    return this.#running.size;
  }

  /** Resolves when the request may be made; dispose it when that has ended. */
  async take({ bytes, account, signal, onYield }: TurnRequest): Promise<Disposable> {
    signal.throwIfAborted();
    const one = { priority: account.priority, onYield };
    if (this.#mayRun(one.priority)) {
      this.#line.pay(account, bytes);
      return this.#run(one);
    }
    const { promise, resolve } = Promise.withResolvers<Disposable>();
    const pass = (): void => resolve(this.#run(one));
    this.#line.push(pass, account, bytes);
    try {
      return await abortable(promise, signal);
    } catch (error) {
      // It may have got its turn just before.
      if (!this.#line.remove(pass, account)) (await promise)[Symbol.dispose]();
      throw error;
    }
  }

  #run(one: Running): Disposable {
    this.#running.add(one);
    this.#takeBackFor(one.priority);
    return {
      [Symbol.dispose]: () => {
        if (this.#running.delete(one)) this.#letPass();
      },
    };
  }

  #letPass(): void {
    for (;;) {
      const next = this.#line.shift((priority) => this.#mayRun(priority));
      if (next === undefined) return;
      next.item();
    }
  }

  #mayRun(priority: Priority): boolean {
    const above = priorities.find((other) => yieldsTo(priority, other) && this.#competes(other));
    if (above === undefined) return true;
    return !this.#running.values().some((one) => yieldsTo(one.priority, above));
  }

  #competes(priority: Priority): boolean {
    return this.#count(priority) >= COMPETING;
  }

  #count(priority: Priority): number {
    return [...this.#running].filter((one) => one.priority === priority).length;
  }

  /** A class has just begun to compete: what waits at parents for those that yield to it is to come later. */
  #takeBackFor(priority: Priority): void {
    const now = this.#clock.monotonic();
    if (this.#count(priority) !== COMPETING || now - this.#tookBackMs < TAKE_BACK_MS) return;
    const yielding = [...this.#running].filter((one) => yieldsTo(one.priority, priority));
    if (yielding.length === 0) return;
    this.#tookBackMs = now;
    for (const one of yielding) one.onYield();
  }
}
