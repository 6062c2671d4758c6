import type { Clock, Timer } from '../../base/clock.ts';

export interface HeartbeatOptions {
  readonly clock: Clock;
  /** Time between two looks; also how often a quiet side says that it lives. */
  readonly everyMs: number;
  /** So many looks in a row without a word from the peer: it is dead. */
  readonly maxMissed: number;
  /** Says that this side lives. */
  readonly beat: () => void;
  /** True while this side does not read by its own choice: then silence proves nothing. */
  readonly isDeaf: () => boolean;
  /** The peer was silent for so long that it counts as dead; called once. */
  readonly onSilent: (silentMs: number) => void;
}

/** A look that comes this much too late says that we were busy, not that the peer was silent. */
const LAG_MS = 250;

/**
 * Notices a dead peer. Each side says something at least every two looks, so that no answer is needed, and a side
 * that reads slowly still proves by its own beats that it lives.
 */
export class Heartbeat implements Disposable {
  readonly #options: HeartbeatOptions;
  readonly #timer: Timer;
  #lastLookMs: number;
  #heardAtMs: number;
  #missed = 0;
  #hasHeard = false;
  #hasSent = false;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#lastLookMs = options.clock.monotonic();
    this.#heardAtMs = this.#lastLookMs;
    this.#timer = options.clock.every(options.everyMs, () => this.#look());
  }

  /** Something came from the peer. */
  heard(): void {
    this.#hasHeard = true;
  }

  /** Something was sent to the peer. */
  sent(): void {
    this.#hasSent = true;
  }

  [Symbol.dispose](): void {
    this.#timer.cancel();
  }

  #look(): void {
    const { clock, everyMs, maxMissed, beat, isDeaf, onSilent } = this.#options;
    const now = clock.monotonic();
    const isLate = now - this.#lastLookMs > everyMs + LAG_MS;
    this.#lastLookMs = now;
    if (!this.#hasSent) beat();
    this.#hasSent = false;
    if (this.#hasHeard || isDeaf()) {
      this.#hasHeard = false;
      this.#heardAtMs = now;
      this.#missed = 0;
      return;
    }
    // What the peer said while we lagged is still in the socket: it is read after this timer.
    if (!isLate) this.#missed += 1;
    if (this.#missed < maxMissed) return;
    this[Symbol.dispose]();
    onSilent(Math.round(now - this.#heardAtMs));
  }
}
