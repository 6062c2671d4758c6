import { DEFAULT_PRIORITY, moreImportant } from './priority.ts';
import type { Priority } from './priority.ts';

/** The class of something that several may want: it is that of the most important of them, and is never lowered. */
export class Standing {
  /** Those who wait for it, to change their place in line. */
  readonly #watchers = new Set<() => void>();
  #priority: Priority;

  constructor(priority: Priority = DEFAULT_PRIORITY) {
    this.#priority = priority;
  }

  get priority(): Priority {
    return this.#priority;
  }

  /** Somebody of this class wants it too. */
  raise(priority: Priority): void {
    const now = moreImportant(this.#priority, priority);
    if (now === this.#priority) return;
    this.#priority = now;
    for (const watcher of this.#watchers) watcher();
  }

  /** Calls `watcher` whenever it was raised, until that is disposed. */
  watch(watcher: () => void): Disposable {
    this.#watchers.add(watcher);
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) };
  }
}
