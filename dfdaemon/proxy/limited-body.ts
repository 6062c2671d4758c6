import type { Priority } from '../../core/base/priority.ts';
import { paced } from '../../core/origin/paced.ts';
import type { RateLimiter } from '../../core/net/pacing.ts';

/** A body of an origin as the limit of what comes from there lets it pass; no limit, no delay. */
export async function* limitedBody(
  body: AsyncIterable<Uint8Array>,
  limiter: RateLimiter | undefined,
  options: { readonly priority?: Priority | undefined; readonly signal: AbortSignal },
): AsyncGenerator<Uint8Array, void, undefined> {
  const { priority = 'interactive', signal } = options;
  const account = { priority, flow: undefined };
  for await (const chunk of body) yield* paced(chunk, limiter, { signal, account });
}
