import type { Clock, Timer } from '../base/clock.ts';
import type { TaskReport } from '../wire/messages.ts';

interface TaskName {
  readonly taskId: string;
  readonly version: string;
}

interface Pending {
  had: Set<number>;
  lost: Set<number>;
  failures: { parent: string; piece: number; code: string }[];
  more: Partial<TaskReport>;
}

/** Reports leave at most this often: the cost at the supernode is per host and second, not per piece. */
const FLUSH_MS = 100;
/** Pieces that came from other hosts are no news to the swarm; each message costs a supernode about 40 µs. */
const LAZY_FLUSH_MS = 1_000;
const MAX_FAILURES = 100;

/** Gathers what happened to the tasks of this host and sends it in batches. */
export class Reporter {
  readonly #clock: Clock;
  readonly #send: (tasks: TaskReport[]) => void;
  readonly #pending = new Map<string, Pending & TaskName>();
  #timer: Timer | undefined;
  #dueMs = Number.POSITIVE_INFINITY;

  /** `send` is called with everything since the last call; it may drop it while no supernode answers. */
  constructor(clock: Clock, send: (tasks: TaskReport[]) => void) {
    this.#clock = clock;
    this.#send = send;
  }

  /** `isFirst`: it came from the seed or the origin, and others wait to hear that it is here. */
  had(task: TaskName, piece: number, { isFirst = true }: { isFirst?: boolean } = {}): void {
    const pending = this.#of(task, isFirst ? FLUSH_MS : LAZY_FLUSH_MS);
    pending.lost.delete(piece);
    pending.had.add(piece);
  }

  lost(task: TaskName, piece: number): void {
    const pending = this.#of(task);
    pending.had.delete(piece);
    pending.lost.add(piece);
  }

  failure(task: TaskName, failure: { parent: string; piece: number; code: string }): void {
    const pending = this.#of(task);
    if (pending.failures.length < MAX_FAILURES) pending.failures.push(failure);
  }

  /** Changes of state: complete, active, gone, byte counts. */
  state(task: TaskName, more: Partial<TaskReport>): void {
    Object.assign(this.#of(task).more, more);
  }

  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#dueMs = Number.POSITIVE_INFINITY;
    if (this.#pending.size === 0) return;
    const tasks = [...this.#pending.values()].map(reportOf);
    this.#pending.clear();
    this.#send(tasks);
  }

  #flushWithin(ms: number): void {
    const dueMs = this.#clock.monotonic() + ms;
    if (dueMs >= this.#dueMs) return;
    this.#timer?.cancel();
    this.#timer = this.#clock.after(ms, () => this.flush(), { ref: false });
    this.#dueMs = dueMs;
  }

  #of(task: TaskName, withinMs = FLUSH_MS): Pending {
    this.#flushWithin(withinMs);
    const key = `${task.taskId}/${task.version}`;
    const known = this.#pending.get(key);
    if (known !== undefined) return known;
    const { taskId, version } = task;
    const created = {
      taskId,
      version,
      had: new Set<number>(),
      lost: new Set<number>(),
      failures: [],
      more: {},
    };
    this.#pending.set(key, created);
    return created;
  }
}

function reportOf(pending: Pending & TaskName): TaskReport {
  const { taskId, version, had, lost, failures, more } = pending;
  return {
    task: taskId,
    version,
    ...(had.size === 0 ? {} : { had: [...had] }),
    ...(lost.size === 0 ? {} : { lost: [...lost] }),
    ...(failures.length === 0 ? {} : { failures }),
    ...more,
  };
}
