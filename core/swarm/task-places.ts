import type { Slot } from '../base/limiter.ts';
import { DEFAULT_PRIORITY } from '../base/priority.ts';
import type { Priority } from '../base/priority.ts';
import { Standing } from '../base/standing.ts';
import { FairLimiter } from '../net/fair-limiter.ts';

/** Tasks that download at a time; others wait in line. */
const MAX_ACTIVE = 64;
/** A release need not wait for the end of others: it has so many places more. */
const RELEASE_PLACES = 8;
const MAX_WAITING = 10_000;

/** The places of a host for tasks that download, given out by class. */
export class TaskPlaces {
  readonly #places = new FairLimiter({
    mayEnter: (priority, { all }) =>
      all < MAX_ACTIVE + (priority === 'release' ? RELEASE_PLACES : 0),
    maxWaiting: MAX_WAITING,
  });

  /** Tasks in line. */
  get waiting(): number {
    return this.#places.waiting;
  }

  /** True when a task of this class would get a place at once. */
  hasRoom(priority: Priority = DEFAULT_PRIORITY): boolean {
    return this.#places.hasRoom(priority);
  }

  /** A place, to be disposed at the end of the task; ERR_BUSY when too many wait. */
  async take(priority: Priority, { signal }: { readonly signal: AbortSignal }): Promise<Slot> {
    return this.#places.acquire({ signal, standing: new Standing(priority) });
  }
}
