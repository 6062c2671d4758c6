import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { backoffMs } from '../base/backoff.ts';
import { abortable } from '../base/clock.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { Log } from '../base/log.ts';
import { PortCaller } from '../base/port-rpc.ts';
import type { Random } from '../base/random.ts';
import type { TransferEvents, TransferOperations } from './transfer-messages.ts';

/** The calling side of one transfer worker, as long as it lives. */
export type TransferCaller = PortCaller<TransferOperations, TransferEvents>;

export type TransferEvent = {
  [N in keyof TransferEvents]: { readonly name: N; readonly value: TransferEvents[N] };
}[keyof TransferEvents];

/** Young objects of a worker are chunks of sockets: a small nursery keeps an idle daemon small. */
const WORKER_LIMITS = { maxYoungGenerationSizeMb: 2 };
/** The wait before a worker that ended is replaced. */
const RESTART = { firstMs: 100, maxMs: 30_000 };
/** A worker that ends so often in a row is not replaced any more: a person has to look. */
const MAX_RESTARTS = 10;
/** One that lived for so long was a good one. */
const STABLE_MS = 60_000;

export interface TransferThreadParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Makes a new worker what it has to be; it counts as alive when this resolves. */
  readonly prepare: (worker: TransferCaller) => Promise<void>;
  readonly onEvent: (event: TransferEvent, worker: TransferCaller) => void;
  /** Nothing that was asked of it comes any more. */
  readonly onDeath: (worker: TransferCaller, error: CodedError) => void;
}

/** One transfer worker, and the next one when it ends although nobody told it to. */
export class TransferThread implements AsyncDisposable {
  readonly #parts: TransferThreadParts;
  #thread: Worker | undefined;
  #worker: TransferCaller | undefined;
  #restart: Timer | undefined;
  #restarts = 0;
  #startedMs = 0;
  #isClosing = false;

  private constructor(parts: TransferThreadParts) {
    this.#parts = parts;
  }

  /** Starts the first worker; one that cannot be prepared is not tried again. */
  static async start(parts: TransferThreadParts): Promise<TransferThread> {
    const thread = new TransferThread(parts);
    try {
      await thread.#begin();
      return thread;
    } catch (error) {
      await thread[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The worker, when it lives. */
  get worker(): TransferCaller | undefined {
    return this.#worker;
  }

  /** Lets the worker end what it does, and ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#restart?.cancel();
    await this.#worker?.call('close', undefined).catch(() => undefined);
    await this.#thread?.terminate();
  }

  async #begin(): Promise<void> {
    const { clock, onEvent, prepare } = this.#parts;
    const url = new URL(
      `./worker/transfer-worker${extname(import.meta.filename)}`,
      import.meta.url,
    );
    const thread = new Worker(url, { resourceLimits: WORKER_LIMITS });
    this.#thread = thread;
    this.#startedMs = clock.monotonic();
    const worker: TransferCaller = new PortCaller(
      thread,
      // A name and its value come as a pair; the type checker cannot see that through a generic call.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      (name, value) => onEvent({ name, value } as TransferEvent, worker),
      (error) => this.#refused(error),
    );
    const ended = new AbortController();
    thread.on('error', (error) => this.#died(worker, { thread, ended, cause: error }));
    thread.on('exit', (code) => {
      this.#died(worker, { thread, ended, cause: new Error(`it exited with ${code}`) });
    });
    try {
      await abortable(prepare(worker), ended.signal);
      this.#worker = worker;
    } catch (error) {
      await thread.terminate();
      throw error;
    }
  }

  #refused(error: CodedError): void {
    if (this.#isClosing) return;
    this.#parts.log.warn({ err: error }, 'a transfer worker could not do what it was told');
  }

  #died(
    worker: TransferCaller,
    end: { readonly thread: Worker; readonly ended: AbortController; readonly cause: unknown },
  ): void {
    if (end.ended.signal.aborted) return;
    const { log, clock, onDeath } = this.#parts;
    const { cause, thread } = end;
    const error = this.#isClosing
      ? new CodedError('ERR_INTERRUPTED', 'this program is stopping')
      : new CodedError('ERR_WORKER', 'a transfer worker ended unexpectedly', { cause });
    const isMine = this.#worker === worker;
    if (isMine) this.#worker = undefined;
    end.ended.abort(error);
    onDeath(worker, error);
    worker.fail(error);
    // One that did not even begin is its starter's to replace.
    if (this.#isClosing || !isMine || this.#thread !== thread) return;
    log.error({ err: cause }, 'a transfer worker ended; it is replaced');
    if (clock.monotonic() - this.#startedMs >= STABLE_MS) this.#restarts = 0;
    this.#replace();
  }

  #replace(): void {
    const { clock, random, log } = this.#parts;
    if (this.#isClosing) return;
    if (this.#restarts >= MAX_RESTARTS) {
      log.error({ restarts: this.#restarts }, 'a transfer worker is not replaced any more');
      return;
    }
    const waitMs = backoffMs(this.#restarts, RESTART, random);
    this.#restarts += 1;
    this.#restart = clock.after(waitMs, () => {
      this.#begin().catch((error: unknown) => {
        if (this.#isClosing) return;
        log.error({ err: error }, 'a transfer worker could not be started');
        this.#replace();
      });
    });
  }
}
