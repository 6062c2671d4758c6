import type { Clock } from '../base/clock.ts';
import { RateLimiter } from '../net/pacing.ts';
import { RequestTurns } from './request-turns.ts';

/** Payload per second of one task that several downloads share: the most generous wish counts, 0 is no limit. */
export class TaskRate {
  /** No more of its pieces is asked for than may come in a moment. */
  readonly turns: RequestTurns;
  readonly #limiter: RateLimiter;
  #isRated = false;
  #isSet = false;

  constructor(clock: Clock) {
    this.#limiter = new RateLimiter(0, clock);
    this.turns = new RequestTurns(clock, this.#limiter);
  }

  get bytesPerSecond(): number {
    return this.#limiter.bytesPerSecond;
  }

  /** Bytes of it wait at this moment. */
  get isHolding(): boolean {
    return this.#limiter.isHolding;
  }

  /** For the threads that take it from hosts and its origin. */
  get shared(): SharedArrayBuffer {
    return this.#limiter.shared;
  }

  /** One more download of the task, and what it wishes. */
  allow(bytesPerSecond: number): void {
    if (this.#isSet) return;
    const current = this.#limiter.bytesPerSecond;
    const isFree = bytesPerSecond === 0 || (current === 0 && this.#isRated);
    this.#isRated = true;
    this.#limiter.setRate(isFree ? 0 : Math.max(current, bytesPerSecond));
  }

  /** From now on, whatever was and will be wished. */
  set(bytesPerSecond: number): void {
    this.#isSet = true;
    this.#limiter.setRate(bytesPerSecond);
  }
}
