import { abortable } from '../../core/base/clock.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';

/** One download that somebody waits for; dispose it when he does no more. */
export interface DownloadSlot extends Disposable {
  readonly signal: AbortSignal;
  abort(reason: CodedError): void;
}

/** Downloads under way at a time; one more is answered with ERR_BUSY. */
const MAX_DOWNLOADS = 4_000;

/** The downloads under way over the local API: bounded, and drained when the program stops. */
export class DownloadSlots {
  readonly max: number;
  readonly #open = new Set<AbortController>();
  #isStopping = false;
  #onEmpty: (() => void) | undefined;

  constructor(options: { readonly max?: number } = {}) {
    this.max = options.max ?? MAX_DOWNLOADS;
  }

  get active(): number {
    return this.#open.size;
  }

  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Throws ERR_BUSY when as many are open as may be, or the program is stopping. */
  open(): DownloadSlot {
    if (this.#isStopping) throw new CodedError('ERR_BUSY', 'this dfdaemon is stopping');
    if (this.#open.size >= this.max) {
      throw new CodedError('ERR_BUSY', `${this.max} downloads are under way already`, {
        detail: { max: this.max },
      });
    }
    const controller = new AbortController();
    this.#open.add(controller);
    return {
      signal: controller.signal,
      abort: (reason) => controller.abort(reason),
      [Symbol.dispose]: () => {
        this.#open.delete(controller);
        if (this.#open.size === 0) this.#onEmpty?.();
      },
    };
  }

  /** Opens no more; gives those that are open `graceMs` to end, then aborts them and waits `abortMs` at most. */
  async drain(options: {
    readonly clock: Clock;
    readonly graceMs: number;
    readonly abortMs: number;
  }): Promise<void> {
    const { clock, graceMs, abortMs } = options;
    this.#isStopping = true;
    await this.#empty(clock, graceMs);
    const reason = new CodedError('ERR_INTERRUPTED', 'this dfdaemon is stopping');
    for (const controller of this.#open) controller.abort(reason);
    await this.#empty(clock, abortMs);
  }

  /** Resolves when none is open, or after `ms`. */
  async #empty(clock: Clock, ms: number): Promise<void> {
    if (this.#open.size === 0) return;
    using deadline = clock.deadline(ms);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onEmpty = resolve;
    await abortable(promise, deadline.signal).catch(() => undefined);
    this.#onEmpty = undefined;
  }
}
