import type { Clock, Timer } from '../base/clock.ts';
import type { Slot } from '../base/limiter.ts';
import type { Random } from '../base/random.ts';
import { Standing } from '../base/standing.ts';
import { FairLimiter } from '../net/fair-limiter.ts';
import type { KeyedRates } from '../net/keyed-rates.ts';
import type { RateLimiter } from '../net/pacing.ts';
import type { OriginHostLimits } from './origin-host-limit.ts';
import { RETRY_AFTER_JITTER } from './retry-policy.ts';

/** Requests to one host that wait for their turn; past it ERR_BUSY. */
const MAX_WAITING = 1_024;
/** A host that wants to be left alone for longer is asked again after this all the same. */
const MAX_REST_MS = 60_000;

/** Leave to send one request; disposed when its answer was read to its end, or will not be. */
export interface OriginPass extends Disposable {
  /** Every byte of the answer's body passes it. */
  readonly limiter: RateLimiter;
  /** The host asked for so many milliseconds without requests. */
  rest(ms: number): void;
}

/** As whom somebody wants to ask. */
export interface OriginWish {
  readonly signal: AbortSignal;
  /** Those of one standing are as one among the others of their class. */
  readonly standing?: Standing | undefined;
}

interface Host {
  readonly limiter: FairLimiter;
  rest: Timer | undefined;
  restsUntilMs: number;
}

export interface OriginGateParts {
  readonly limits: OriginHostLimits;
  readonly rates: Pick<KeyedRates, 'limiter'>;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * All requests of this program to origins, whichever thread makes them: so many to one host at a time, the others in
 * line by class, nobody while the host wants to be left alone, and what comes from it at its rate.
 */
export class OriginGate {
  readonly #parts: OriginGateParts;
  /** An entry lives while requests, or a rest, do. */
  readonly #hosts = new Map<string, Host>();

  constructor(parts: OriginGateParts) {
    this.#parts = parts;
  }

  get limits(): OriginHostLimits {
    return this.#parts.limits;
  }

  /** Requests in flight and in line. */
  get requests(): number {
    return this.#hosts
      .values()
      .reduce((sum, { limiter }) => sum + limiter.active + limiter.waiting, 0);
  }

  /** Resolves when the host may be asked; ERR_BUSY when too many wait for it, or the reason of the signal. */
  async enter(
    name: string,
    { signal, standing = new Standing() }: OriginWish,
  ): Promise<OriginPass> {
    const host = this.#hosts.get(name) ?? this.#open(name);
    let slot: Slot;
    try {
      slot = await host.limiter.acquire({ signal, standing, flow: standing });
    } catch (error) {
      this.#forget(name);
      throw error;
    }
    return {
      limiter: this.#parts.rates.limiter(name),
      rest: (ms) => this.#rest(name, host, ms),
      [Symbol.dispose]: () => {
        slot[Symbol.dispose]();
        this.#forget(name);
      },
    };
  }

  #open(name: string): Host {
    const max = this.#parts.limits.requestsOf(name);
    const host: Host = {
      rest: undefined,
      restsUntilMs: 0,
      limiter: new FairLimiter({
        maxWaiting: MAX_WAITING,
        // What is not urgent leaves one place free, so that a release need not wait for its end.
        mayEnter: (priority, { all, own }) => {
          if (host.rest !== undefined || all >= max) return false;
          return priority !== 'warm-up' || own < Math.max(1, max - 1);
        },
      }),
    };
    this.#hosts.set(name, host);
    return host;
  }

  /** The longest rest counts; who waits goes on after it. */
  #rest(name: string, host: Host, askedMs: number): void {
    const { clock, random } = this.#parts;
    const ms = Math.min(askedMs, MAX_REST_MS) * (1 + RETRY_AFTER_JITTER * random.next());
    const untilMs = clock.monotonic() + ms;
    if (ms <= 0 || untilMs <= host.restsUntilMs) return;
    host.restsUntilMs = untilMs;
    host.rest?.cancel();
    const end = (): void => {
      host.rest = undefined;
      host.limiter.admit();
      this.#forget(name);
    };
    host.rest = clock.after(ms, end, { ref: false });
  }

  #forget(name: string): void {
    const host = this.#hosts.get(name);
    if (host === undefined || host.rest !== undefined) return;
    if (host.limiter.active === 0 && host.limiter.waiting === 0) this.#hosts.delete(name);
  }
}
