import { abortable } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { Slot } from '../base/limiter.ts';
import type { Priority } from '../base/priority.ts';
import { Standing } from '../base/standing.ts';
import { FairLine } from './fair-line.ts';
import type { Account } from './fair-line.ts';

/** Bounds of a `FairLimiter`. */
export interface FairLimiterOptions {
  /** Whether one more of this class may hold a permit beside all those, and those of its own class, that do. */
  readonly mayEnter: (
    priority: Priority,
    active: { readonly all: number; readonly own: number },
  ) => boolean;
  /** In line; past it ERR_BUSY. */
  readonly maxWaiting: number;
}

/** As whom somebody waits. */
export interface FairWait {
  readonly signal?: AbortSignal | undefined;
  /** Absent: as who says nothing; when it is raised the waiter changes his place. */
  readonly standing?: Standing | undefined;
  /** In a class each flow is treated like every other; absent: in the order of coming. */
  readonly flow?: unknown;
}

/** A counted permit, as `Limiter`; those who wait are admitted by class, the heavier the more often, and none never. */
export class FairLimiter {
  readonly #options: FairLimiterOptions;
  readonly #line = new FairLine<() => void>();
  readonly #active = new Map<Priority, number>();
  #waiting = 0;

  constructor(options: FairLimiterOptions) {
    this.#options = options;
  }

  get active(): number {
    return this.#active.values().reduce((sum, count) => sum + count, 0);
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** True when somebody of this class would be admitted now. */
  hasRoom(priority: Priority): boolean {
    const own = this.#active.get(priority) ?? 0;
    return this.#options.mayEnter(priority, { all: this.active, own });
  }

  /** Resolves with a permit, to be disposed; ERR_BUSY when too many wait, or the reason of the signal. */
  async acquire({ signal, standing = new Standing(), flow }: FairWait = {}): Promise<Slot> {
    signal?.throwIfAborted();
    const { maxWaiting } = this.#options;
    if (this.hasRoom(standing.priority)) {
      this.#line.pay({ priority: standing.priority, flow }, 1);
      return this.#grant(standing.priority);
    }
    if (this.#waiting >= maxWaiting) {
      throw new CodedError('ERR_BUSY', `${maxWaiting} are waiting already`, {
        detail: { active: this.active, waiting: this.#waiting },
      });
    }
    const { promise, resolve } = Promise.withResolvers<Slot>();
    let account: Account = { priority: standing.priority, flow };
    const enter = (): void => resolve(this.#grant(account.priority));
    this.#line.push(enter, account, 1);
    this.#waiting += 1;
    using _watch = standing.watch(() => {
      if (!this.#line.remove(enter, account)) return;
      account = { priority: standing.priority, flow };
      this.#line.push(enter, account, 1);
      this.admit();
    });
    try {
      return await abortable(promise, signal);
    } catch (error) {
      if (this.#line.remove(enter, account)) this.#waiting -= 1;
      // Its turn came in the same moment: the permit goes to the next.
      else (await promise)[Symbol.dispose]();
      throw CodedError.from(error);
    }
  }

  /** Admits who may enter: for when more may than before. */
  admit(): void {
    for (;;) {
      const next = this.#line.shift((priority) => this.hasRoom(priority));
      if (next === undefined) return;
      this.#waiting -= 1;
      next.item();
    }
  }

  #grant(priority: Priority): Slot {
    this.#active.set(priority, (this.#active.get(priority) ?? 0) + 1);
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#active.set(priority, (this.#active.get(priority) ?? 1) - 1);
        this.admit();
      },
    };
  }
}
