import type { Clock } from '../../core/base/clock.ts';
import type { PeerEntry } from '../swarm-table/swarm-table.ts';

/** A host that is stuck asks every 5 s. */
const FIRST_PAUSE_MS = 10_000;
const MAX_PAUSE_MS = 60_000;

interface Told {
  readonly pauseMs: number;
  readonly againMs: number;
}

/**
 * When a host that does not come forward is sent again all that the cell has signed of a version, which may be long: at
 * once, and then with pauses that double up to a minute, until it has another piece.
 */
export class ManifestRepeats {
  readonly #clock: Clock;
  readonly #told = new WeakMap<PeerEntry, Told>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True: now, and it counts as done. */
  take(entry: PeerEntry): boolean {
    const now = this.#clock.monotonic();
    const told = this.#told.get(entry);
    if (told !== undefined && now < told.againMs) return false;
    const pauseMs = Math.min(MAX_PAUSE_MS, told === undefined ? FIRST_PAUSE_MS : 2 * told.pauseMs);
    this.#told.set(entry, { pauseMs, againMs: now + pauseMs });
    return true;
  }

  /** It comes forward, or has begun anew. */
  forget(entry: PeerEntry): void {
    this.#told.delete(entry);
  }
}
