import type { Clock } from '../base/clock.ts';
import { RateLimiter } from '../net/pacing.ts';

/** Payload per second of one task that several downloads share: the most generous wish counts, 0 is no limit. */
export class TaskRate {
  readonly #limiter: RateLimiter;
  #isRated = false;
  #isSet = false;

  constructor(clock: Clock) {
    this.#limiter = new RateLimiter(0, clock);
  }

  get bytesPerSecond(): number {
    return this.#limiter.bytesPerSecond;
  }

  /** For the threads that read its origin. */
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

  /** Resolves when the bytes may pass. */
  async take(bytes: number, options: { signal: AbortSignal }): Promise<void> {
    await this.#limiter.take(bytes, options);
  }
}
