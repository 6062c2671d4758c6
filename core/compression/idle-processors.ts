import { cpus } from 'node:os';
import type { Clock } from '../base/clock.ts';

/** How often it is looked; in between, what was seen last holds. */
const LOOK_MS = 1_000;
/** After the first look: the kernel counts in hundredths of a second. */
const FIRST_LOOK_MS = 100;
/** What was seen before a longer rest says nothing of now. */
const FRESH_MS = 5_000;

/** What the processors of this machine did since it started, ms. */
export interface ProcessorTimes {
  readonly idleMs: number;
  readonly totalMs: number;
  readonly processors: number;
}

interface Seen extends ProcessorTimes {
  readonly atMs: number;
  readonly ownMs: number;
}

/** How many processors of this machine have nothing to do, looked at only when asked. */
export class IdleProcessors {
  readonly #clock: Clock;
  readonly #ownMs: () => number;
  readonly #read: () => ProcessorTimes;
  #seen: Seen | undefined;
  #idle: number | undefined;

  /** `ownMs`: processor time that compressing has taken so far; it would be idle without. */
  constructor(
    clock: Clock,
    options: { readonly ownMs: () => number; readonly read?: () => ProcessorTimes },
  ) {
    this.#clock = clock;
    this.#ownMs = options.ownMs;
    this.#read = options.read ?? readProcessors;
  }

  /** How many there are; undefined until there was time to see, which begins with the first call. */
  look(): number | undefined {
    const atMs = this.#clock.monotonic();
    const before = this.#seen;
    const dueMs = this.#idle === undefined ? FIRST_LOOK_MS : LOOK_MS;
    if (before !== undefined && atMs - before.atMs < dueMs) return this.#idle;
    const seen = { ...this.#read(), atMs, ownMs: this.#ownMs() };
    this.#seen = seen;
    const isFresh = before !== undefined && atMs - before.atMs < FRESH_MS;
    this.#idle = isFresh ? idleBetween(before, seen) : undefined;
    return this.#idle;
  }
}

function readProcessors(): ProcessorTimes {
  let [idleMs, totalMs] = [0, 0];
  const all = cpus();
  for (const { times } of all) {
    idleMs += times.idle;
    totalMs += times.user + times.nice + times.sys + times.irq + times.idle;
  }
  return { idleMs, totalMs, processors: all.length };
}

function idleBetween(before: Seen, seen: Seen): number | undefined {
  const totalMs = seen.totalMs - before.totalMs;
  if (totalMs <= 0) return undefined;
  const idleMs = seen.idleMs - before.idleMs + (seen.ownMs - before.ownMs);
  return Math.min(seen.processors, (seen.processors * idleMs) / totalMs);
}
