import { LRUCache } from 'lru-cache';

const MAX_HOSTS = 1024;
const FIRST_PAUSE_MS = 5000;
const MAX_PAUSE_MS = 60_000;

interface Pause {
  readonly ms: number;
  readonly untilMs: number;
}

/**
 * Where the mesh was asked in vain: each try costs a client seconds that it would not lose without us, so the next
 * comes after a pause, 5 s doubling up to a minute, for each origin by itself.
 */
export class MeshTrials {
  readonly #pauses = new LRUCache<string, Pause>({ max: MAX_HOSTS });

  /** False during a pause. */
  mayTry(origin: string, nowMs: number): boolean {
    const pause = this.#pauses.get(origin);
    return pause === undefined || nowMs >= pause.untilMs;
  }

  failed(origin: string, nowMs: number): void {
    const last = this.#pauses.get(origin);
    // Requests that were under way together fail together, and count once.
    if (last !== undefined && nowMs < last.untilMs) return;
    const ms = last === undefined ? FIRST_PAUSE_MS : Math.min(last.ms * 2, MAX_PAUSE_MS);
    this.#pauses.set(origin, { ms, untilMs: nowMs + ms });
  }

  worked(origin: string): void {
    this.#pauses.delete(origin);
  }
}
