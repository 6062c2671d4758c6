import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';

const clock = new SystemClock();
const POLL_MS = 20;

/** How long to look, and how often. */
export interface EventuallyOptions {
  /** Default 30,000. */
  readonly withinMs?: number;
  /** Default 20. */
  readonly everyMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** The first answer of `look` that is not undefined; ERR_TIMEOUT naming `what` when there is none in time. */
export async function eventually<T>(
  what: string,
  look: () => T | undefined | Promise<T | undefined>,
  options: EventuallyOptions = {},
): Promise<T> {
  const { withinMs = 30_000, everyMs = POLL_MS, signal } = options;
  const endMs = clock.monotonic() + withinMs;
  for (;;) {
    signal?.throwIfAborted();
    const answer = await look();
    if (answer !== undefined) return answer;
    if (clock.monotonic() >= endMs) {
      throw new CodedError('ERR_TIMEOUT', `${what}: not within ${withinMs} ms`);
    }
    await clock.sleep(everyMs, { signal });
  }
}
