import { LRUCache } from 'lru-cache';
import type { Clock } from '../../core/base/clock.ts';

/** Hosts that may fetch one task from its origin themselves, within one window. */
const GRANTS = 3;
const WINDOW_MS = 60_000;

/** Keeps a failing seed from turning into a storm on the origin: few hosts a minute may go themselves. */
export class SourceBudget {
  readonly #clock: Clock;
  readonly #grants = new LRUCache<string, number[]>({ max: 10_000 });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ask(task: string): { readonly granted: boolean; readonly reason: string } {
    const now = this.#clock.monotonic();
    const recent = (this.#grants.get(task) ?? []).filter((time) => now - time < WINDOW_MS);
    if (recent.length >= GRANTS) {
      return {
        granted: false,
        reason: `${GRANTS} hosts went to this origin within the last minute`,
      };
    }
    this.#grants.set(task, [...recent, now]);
    return { granted: true, reason: 'within the budget' };
  }
}
