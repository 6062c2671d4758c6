import type { StoredTask } from './stored-task.ts';

/** The tasks of a store by id, each with its versions from oldest to newest. */
export class TaskIndex {
  readonly #versions = new Map<string, StoredTask[]>();
  #size = 0;
  #newestMs = 0;

  constructor(tasks: Iterable<StoredTask>) {
    for (const task of tasks) this.add(task);
  }

  get size(): number {
    return this.#size;
  }

  /** When the newest task that ever was in here was made. */
  get newestMs(): number {
    return this.#newestMs;
  }

  *all(): Generator<StoredTask> {
    for (const versions of this.#versions.values()) yield* versions;
  }

  /** One version of a task; without `version` the newest. */
  find(taskId: string, version?: string): StoredTask | undefined {
    const versions = this.#versions.get(taskId);
    if (version === undefined) return versions?.at(-1);
    return versions?.find((task) => task.version === version);
  }

  add(task: StoredTask): void {
    const versions = [...(this.#versions.get(task.taskId) ?? []), task];
    this.#versions.set(
      task.taskId,
      versions.toSorted((a, b) => a.createdMs - b.createdMs),
    );
    this.#size += 1;
    this.#newestMs = Math.max(this.#newestMs, task.createdMs);
  }

  delete(task: StoredTask): void {
    const versions = this.#versions.get(task.taskId) ?? [];
    const left = versions.filter((other) => other !== task);
    if (left.length === 0) this.#versions.delete(task.taskId);
    else this.#versions.set(task.taskId, left);
    this.#size -= versions.length - left.length;
  }
}
