import { CodedError } from '../base/error.ts';
import type { Account } from '../net/fair-line.ts';
import { partBytesFor } from '../net/pacing.ts';
import type { RateLimiter } from '../net/pacing.ts';

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
    const most = partBytesFor(limiter.bytesPerSecond);
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
