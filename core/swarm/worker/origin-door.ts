import { LRUCache } from 'lru-cache';
import { abortable } from '../../base/clock.ts';
import type { Clock } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import { RateLimiter } from '../../net/pacing.ts';
import type { OriginAccount, OriginDoor, OriginLeave } from '../../origin/origin-connections.ts';
import type { TransferEvents, TransferOperations } from '../transfer-messages.ts';

type Emit = <N extends 'origin-wanted' | 'origin-left'>(name: N, value: TransferEvents[N]) => void;
type Admitted = TransferOperations['origin-admitted']['args'];

/** Limiters of hosts that this thread remembers. */
const MAX_LIMITERS = 256;

/** The gate of this program, which stands in the main thread, as a worker passes it. */
export class MainDoor implements OriginDoor {
  readonly #emit: Emit;
  readonly #clock: Clock;
  readonly #waiting = new Map<number, (admitted: Admitted) => void>();
  /** Those who wait for the same limit stand in one line: it has one limiter in this thread. */
  readonly #limiters = new LRUCache<number, RateLimiter>({ max: MAX_LIMITERS });
  #lastPass = 0;

  constructor(emit: Emit, clock: Clock) {
    this.#emit = emit;
    this.#clock = clock;
  }

  async enter(
    host: string,
    {
      account,
      signal,
    }: { readonly account: OriginAccount | undefined; readonly signal: AbortSignal },
  ): Promise<OriginLeave> {
    signal.throwIfAborted();
    this.#lastPass += 1;
    const pass = this.#lastPass;
    const { promise, resolve } = Promise.withResolvers<Admitted>();
    this.#waiting.set(pass, resolve);
    const flow = typeof account?.flow === 'number' ? account.flow : undefined;
    this.#emit('origin-wanted', { pass, host, origin: flow });
    let isOver = false;
    const end = (restMs?: number): void => {
      if (isOver) return;
      isOver = true;
      this.#emit('origin-left', { pass, ...(restMs === undefined ? {} : { restMs }) });
    };
    try {
      const { error, limit } = await abortable(promise, signal);
      if (error !== undefined) throw CodedError.fromObject(error);
      if (limit === undefined) throw new CodedError('ERR_INTERNAL', 'admitted without a limit');
      return { limiter: this.#limiter(limit), end };
    } catch (error) {
      end();
      throw CodedError.from(error);
    } finally {
      this.#waiting.delete(pass);
    }
  }

  /** The main thread's answer. */
  admitted(admitted: Admitted): void {
    this.#waiting.get(admitted.pass)?.(admitted);
  }

  #limiter({ id, rate }: NonNullable<Admitted['limit']>): RateLimiter {
    const known = this.#limiters.get(id);
    if (known !== undefined) return known;
    const made = new RateLimiter(rate, this.#clock);
    this.#limiters.set(id, made);
    return made;
  }
}
