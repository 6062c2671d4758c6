import { abortable, abortReason } from './clock.ts';

interface Run<T> {
  readonly promise: Promise<T>;
  readonly controller: AbortController;
  waiters: number;
}

/** Does work once for all who ask for it under one key while it is under way. */
export class Coalescer<T> {
  readonly #runs = new Map<string, Run<T>>();
  readonly #discard: (unwanted: T) => void;

  /** `discard` is given a result that came when nobody waited for it any more. */
  constructor(discard: (unwanted: T) => void = () => undefined) {
    this.#discard = discard;
  }

  /** Runs under way. */
  get size(): number {
    return this.#runs.size;
  }

  /**
   * The result of the run under `key`, begun by the first who asks. Aborting `signal` ends the waiting of this
   * asker; the work is aborted with the last of them.
   */
  async run(
    key: string,
    work: (signal: AbortSignal) => Promise<T>,
    options: { signal: AbortSignal },
  ): Promise<T> {
    options.signal.throwIfAborted();
    const run = this.#runs.get(key) ?? this.#begin(key, work);
    run.waiters += 1;
    try {
      return await abortable(run.promise, options.signal);
    } finally {
      run.waiters -= 1;
      if (run.waiters === 0 && this.#runs.get(key) === run) {
        // Whoever asks from now on must not get a run that is ending.
        this.#runs.delete(key);
        if (options.signal.aborted) run.controller.abort(abortReason(options.signal));
      }
    }
  }

  #begin(key: string, work: (signal: AbortSignal) => Promise<T>): Run<T> {
    const controller = new AbortController();
    const run: Run<T> = { promise: work(controller.signal), controller, waiters: 0 };
    this.#runs.set(key, run);
    const ended = (): void => {
      if (this.#runs.get(key) === run) this.#runs.delete(key);
    };
    run.promise.then((value) => {
      ended();
      if (run.waiters === 0) this.#discard(value);
    }, ended);
    return run;
  }
}
