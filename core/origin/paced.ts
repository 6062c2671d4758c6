import { CodedError } from '../base/error.ts';
import type { Account } from '../net/fair-line.ts';
import type { RateLimiter } from '../net/pacing.ts';

/** A piece of a rate-limited body stands for at most this time, so that the rate is even. */
const PACE_SECONDS = 0.05;
const MIN_PACED_BYTES = 1024;

/** The bytes of `chunk` as the limiter lets them pass; throws the reason of the signal. */
export async function* paced(
  chunk: Uint8Array,
  limiter: RateLimiter | undefined,
  { signal, account }: { readonly signal: AbortSignal; readonly account?: Account | undefined },
): AsyncGenerator<Uint8Array, void, undefined> {
  if (limiter === undefined) {
    yield chunk;
    return;
  }
  for (let start = 0; start < chunk.length;) {
    const rate = limiter.bytesPerSecond;
    const most = rate > 0 ? Math.max(MIN_PACED_BYTES, Math.floor(rate * PACE_SECONDS)) : Infinity;
    const part = chunk.subarray(start, Math.min(chunk.length, start + most));
    try {
      // A copy: who waits leaves the line as whom he came.
      await limiter.take(part.length, { signal, ...(account && { account: { ...account } }) });
    } catch (reason) {
      throw CodedError.from(reason);
    }
    yield part;
    start += part.length;
  }
}
