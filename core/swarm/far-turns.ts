import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { KeyedRates } from '../net/keyed-rates.ts';
import type { RateLimiter } from '../net/pacing.ts';
import { RequestTurns } from './request-turns.ts';
import type { TurnRequest } from './request-turns.ts';

/** What waits longer for the budget between two idcs is asked of somebody else, if there is one, for so long. */
const PATIENCE_MS = 500;
const MOST_PATIENCE_MS = 5_000;
/** Where pieces pass more slowly, as long as it takes so many: somebody is to wait all the time, or the cell takes the share for unused. */
const PIECES = 3;

/** The limit of what comes from one other idc, for threads that take it. */
export interface FarRate {
  readonly idc: string;
  /** Of its limiter. */
  readonly memory: SharedArrayBuffer;
}

/** Requests to hosts of other idcs, no more of them than may come in a moment; what comes pays on its way in. */
export class FarTurns {
  readonly #rates: Pick<KeyedRates, 'limiter' | 'isHolding'>;
  readonly #clock: Clock;
  readonly #turns = new WeakMap<RateLimiter, RequestTurns>();

  constructor(rates: Pick<KeyedRates, 'limiter' | 'isHolding'>, clock: Clock) {
    this.#rates = rates;
    this.#clock = clock;
  }

  /** Some that came from another idc wait at this moment. */
  get isHolding(): boolean {
    return this.#rates.isHolding;
  }

  /** What threads take from hosts of an idc with. */
  rate(otherIdc: string): FarRate {
    return { idc: otherIdc, memory: this.#rates.limiter(otherIdc).shared };
  }

  /**
   * Resolves when the piece may be asked for, to be disposed when it has come; ERR_BUSY with `retryAfterMs` when that
   * would take long.
   */
  async take(otherIdc: string, request: TurnRequest): Promise<Disposable> {
    const { bytes, signal } = request;
    const limiter = this.#rates.limiter(otherIdc);
    const { bytesPerSecond } = limiter;
    const piecesMs = bytesPerSecond > 0 ? (PIECES * bytes * 1_000) / bytesPerSecond : 0;
    const patienceMs = Math.min(MOST_PATIENCE_MS, Math.max(PATIENCE_MS, piecesMs));
    using patience = this.#clock.deadline(patienceMs, { signal });
    try {
      return await this.#turnsOf(limiter).take({ ...request, signal: patience.signal });
    } catch (cause) {
      signal.throwIfAborted();
      const message = `no more may come from ${otherIdc} at this moment`;
      throw new CodedError('ERR_BUSY', message, { cause, detail: { retryAfterMs: PATIENCE_MS } });
    }
  }

  #turnsOf(limiter: RateLimiter): RequestTurns {
    const turns = this.#turns.get(limiter) ?? new RequestTurns(this.#clock, limiter);
    this.#turns.set(limiter, turns);
    return turns;
  }
}
