import { cpus } from 'node:os';
import type { Clock } from '../base/clock.ts';

/** How often it is looked; in between, what was seen last holds. */
const LOOK_MS = 1_000;

interface Seen {
  readonly atMs: number;
  readonly idleMs: number;
  readonly totalMs: number;
  readonly ownMs: number;
  readonly processors: number;
}

/** How many processors of this machine have nothing to do, looked at only when asked. */
export class IdleProcessors {
  readonly #clock: Clock;
  readonly #ownMs: () => number;
  #seen: Seen | undefined;
  #idle: number | undefined;

  /** `ownMs`: processor time that compressing has taken so far; it would be idle without. */
  constructor(clock: Clock, ownMs: () => number) {
    this.#clock = clock;
    this.#ownMs = ownMs;
  }

  /** Undefined until there was time to see. */
  get count(): number | undefined {
    const now = this.#clock.monotonic();
    const before = this.#seen;
    if (before !== undefined && now - before.atMs < LOOK_MS) return this.#idle;
    const seen = this.#look(now);
    this.#seen = seen;
    // After a long rest it says nothing of now.
    const isFresh = before !== undefined && now - before.atMs < 5 * LOOK_MS;
    if (isFresh) this.#idle = idleBetween(before, seen);
    return this.#idle;
  }

  #look(atMs: number): Seen {
    let [idleMs, totalMs] = [0, 0];
    const processors = cpus();
    for (const { times } of processors) {
      idleMs += times.idle;
      totalMs += times.user + times.nice + times.sys + times.irq + times.idle;
    }
    return { atMs, idleMs, totalMs, ownMs: this.#ownMs(), processors: processors.length };
  }
}

function idleBetween(before: Seen, seen: Seen): number | undefined {
  const totalMs = seen.totalMs - before.totalMs;
  if (totalMs <= 0) return undefined;
  const idleMs = seen.idleMs - before.idleMs + (seen.ownMs - before.ownMs);
  return Math.min(seen.processors, (seen.processors * idleMs) / totalMs);
}
