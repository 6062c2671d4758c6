import { CodedError } from '../base/error.ts';
import type { Standing } from '../base/standing.ts';
import type { RateLimiter } from '../net/pacing.ts';
import type { OriginGate, OriginPass } from '../origin/origin-gate.ts';
import type { TransferEvents } from './transfer-messages.ts';
import type { TransferCaller } from './transfer-thread.ts';

interface Asked {
  readonly controller: AbortController;
  pass: OriginPass | undefined;
}

/** The requests of workers at the gate of this program: those that wait there, and those that passed and go on. */
export class OriginPasses {
  readonly #gate: OriginGate;
  readonly #workers = new Map<TransferCaller, Map<number, Asked>>();
  /** Workers know limiters by a number. */
  readonly #ids = new WeakMap<RateLimiter, number>();
  #lastId = 0;

  constructor(gate: OriginGate) {
    this.#gate = gate;
  }

  /** A worker wants to ask a host; it is told when it may. */
  wanted(
    worker: TransferCaller,
    { pass: id, host }: TransferEvents['origin-wanted'],
    standing: Standing | undefined,
  ): void {
    const asked: Asked = { controller: new AbortController(), pass: undefined };
    const passes = this.#workers.get(worker) ?? new Map<number, Asked>();
    this.#workers.set(worker, passes.set(id, asked));
    void this.#admit(worker, { id, host, asked, standing });
  }

  /** A worker is done with a request, or wants to make it no more. */
  left(worker: TransferCaller, { pass: id, restMs }: TransferEvents['origin-left']): void {
    const asked = this.#workers.get(worker)?.get(id);
    this.#workers.get(worker)?.delete(id);
    if (restMs !== undefined) asked?.pass?.rest(restMs);
    asked?.pass?.[Symbol.dispose]();
    asked?.controller.abort(new CodedError('ERR_INTERRUPTED', 'nobody waits for it any more'));
  }

  /** What a worker that died had asked for is free. */
  died(worker: TransferCaller): void {
    for (const id of this.#workers.get(worker)?.keys() ?? []) this.left(worker, { pass: id });
    this.#workers.delete(worker);
  }

  async #admit(
    worker: TransferCaller,
    about: {
      readonly id: number;
      readonly host: string;
      readonly asked: Asked;
      readonly standing: Standing | undefined;
    },
  ): Promise<void> {
    const { id, host, asked, standing } = about;
    const { signal } = asked.controller;
    try {
      asked.pass = await this.#gate.enter(host, { signal, standing });
      if (signal.aborted) {
        asked.pass[Symbol.dispose]();
        return;
      }
      const { limiter } = asked.pass;
      const limit = { id: this.#idOf(limiter), rate: limiter.shared };
      worker.tell('origin-admitted', { pass: id, limit });
    } catch (error) {
      if (signal.aborted) return;
      worker.tell('origin-admitted', { pass: id, error: CodedError.from(error).toObject() });
    }
  }

  #idOf(limiter: RateLimiter): number {
    const known = this.#ids.get(limiter);
    if (known !== undefined) return known;
    this.#lastId += 1;
    this.#ids.set(limiter, this.#lastId);
    return this.#lastId;
  }
}
