import { abortable } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { TransferOperations } from './transfer-messages.ts';
import { TransferThread } from './transfer-thread.ts';
import type { TransferCaller, TransferThreadParts } from './transfer-thread.ts';

/** How long a call waits for a worker while all of them are being replaced. */
const REPLACE_PATIENCE_MS = 5_000;

export interface TransferCrewParts extends TransferThreadParts {
  /** Tells a new worker what all others were told; no other call to it comes in between what is called at once. */
  readonly brief: (worker: TransferCaller) => Promise<void>;
}

/** The transfer workers that live, whoever of them had to be replaced. */
export class TransferCrew implements AsyncDisposable {
  readonly #parts: TransferCrewParts;
  readonly #threads: TransferThread[] = [];
  readonly #workers: TransferCaller[] = [];
  readonly #waiting = new Set<() => void>();
  #isClosing = false;

  constructor(parts: TransferCrewParts) {
    this.#parts = parts;
  }

  /** Starts one more worker. */
  async add(): Promise<void> {
    const { clock, random, log, prepare, brief, onEvent, onDeath } = this.#parts;
    const thread = await TransferThread.start({
      clock,
      random,
      log,
      onEvent,
      prepare: async (worker) => {
        await prepare(worker);
        this.#workers.push(worker);
        await brief(worker);
        for (const wake of this.#waiting) wake();
      },
      onDeath: (worker, error) => {
        const index = this.#workers.indexOf(worker);
        if (index !== -1) this.#workers.splice(index, 1);
        onDeath(worker, error);
      },
    });
    this.#threads.push(thread);
  }

  /** Workers there are, and those that live: another is replaced in a moment, or was too often. */
  get counts(): { readonly alive: number; readonly total: number } {
    const alive = this.#threads.filter(({ worker }) => worker !== undefined).length;
    return { alive, total: this.#threads.length };
  }

  isAlive(worker: TransferCaller): boolean {
    return !this.#isClosing && this.#workers.includes(worker);
  }

  /**
   * The same worker for the same name as long as none dies, so that connections are shared; ERR_WORKER when for a
   * while there is none.
   */
  async workerFor(name: string, options: { signal: AbortSignal }): Promise<TransferCaller> {
    if (this.#workers.length === 0) await this.#someWorker(options.signal);
    let hash = 0;
    for (let index = 0; index < name.length; index += 1) {
      hash = (Math.imul(hash, 31) + name.charCodeAt(index)) >>> 0;
    }
    const worker = this.#workers[hash % this.#workers.length];
    if (worker === undefined) throw noWorker();
    return worker;
  }

  /** Calls every worker; what one that dies meanwhile would have been told, its successor is. */
  async all<N extends keyof TransferOperations>(
    op: N,
    args: TransferOperations[N]['args'],
  ): Promise<TransferOperations[N]['result'][]> {
    const answers = this.#workers.map(async (worker) => {
      try {
        return [await worker.call(op, args)];
      } catch (error) {
        if (this.#workers.includes(worker)) throw error;
        return [];
      }
    });
    return (await Promise.all(answers)).flat(1);
  }

  /** Tells every worker, without an answer; what one that dies meanwhile would have been told, its successor is. */
  tell<N extends keyof TransferOperations>(op: N, args: TransferOperations[N]['args']): void {
    for (const worker of this.#workers) worker.tell(op, args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true;
    await Promise.all(this.#threads.map(async (thread) => thread[Symbol.asyncDispose]()));
  }

  /** Resolves when a worker has taken the place of one that died. */
  async #someWorker(signal: AbortSignal): Promise<void> {
    if (this.#isClosing) throw noWorker();
    using deadline = this.#parts.clock.deadline(REPLACE_PATIENCE_MS);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    try {
      await abortable(promise, AbortSignal.any([signal, deadline.signal]));
    } catch (error) {
      throw deadline.signal.aborted ? noWorker() : error;
    } finally {
      this.#waiting.delete(resolve);
    }
  }
}

function noWorker(): CodedError {
  return new CodedError('ERR_WORKER', 'no transfer worker is running');
}
