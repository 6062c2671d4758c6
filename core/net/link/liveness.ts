import type { LinkLimits } from './limits.ts';

/** What to do about a link now. */
export type LivenessVerdict = 'fine' | 'ping' | 'silent' | 'idle';

/** Judges, tick by tick, whether the other side of a link is alive and still needed. */
export class Liveness {
  readonly #limits: LinkLimits;
  #hasHeard = false;
  #isPinged = false;
  #silentMs = 0;
  #idleMs = 0;

  constructor(limits: LinkLimits) {
    this.#limits = limits;
  }

  /** Bytes have come. */
  heard(): void {
    this.#hasHeard = true;
  }

  /**
   * `elapsedMs` have passed since the last tick, `countedMs` of them not in our own lag. Only while an answer is
   * due does silence mean anything, and only from `patienceMs` on.
   */
  tick(
    time: { elapsedMs: number; countedMs: number },
    link: { isIdle: boolean; isAnswerDue: boolean; patienceMs: number },
  ): LivenessVerdict {
    this.#idleMs = link.isIdle ? this.#idleMs + time.elapsedMs : 0;
    if (this.#idleMs >= this.#limits.idleMs) return 'idle';
    if (this.#hasHeard || !link.isAnswerDue) {
      this.#hasHeard = false;
      this.#isPinged = false;
      this.#silentMs = 0;
      return 'fine';
    }
    this.#silentMs += time.countedMs;
    if (this.#silentMs >= link.patienceMs) return 'silent';
    if (this.#isPinged || this.#silentMs < this.#limits.pingAfterMs) return 'fine';
    this.#isPinged = true;
    return 'ping';
  }
}
