import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { abortable } from '../../core/base/clock.ts';
import type { RateLimiter } from '../../core/net/pacing.ts';
import type { PlannedAnswer } from './answer.ts';
import { contentChunks } from './content.ts';
import type { Route } from './route.ts';

/** What happens to a body on its way out. */
export interface BodyTroubles {
  readonly limiters: readonly RateLimiter[];
  readonly cut: { readonly afterBytes: number; readonly reset?: boolean } | undefined;
  readonly stall: { readonly afterBytes: number } | undefined;
  readonly hold: Route['hold'];
  /** Told after bytes went to the network, with those of the whole answer so far. */
  readonly onSent: (bytes: number, sentOfAnswer: number) => void;
}

/** Sends the body of an answer, no faster than it is taken and paid for, up to its end or its trouble. */
export async function sendBody(
  response: ServerResponse,
  plan: PlannedAnswer,
  troubles: BodyTroubles,
): Promise<void> {
  const { cut, stall, hold, limiters } = troubles;
  const most = Math.min(cut?.afterBytes ?? Infinity, stall?.afterBytes ?? Infinity);
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  let sent = 0;
  if (plan.content !== undefined) {
    for await (const chunk of contentChunks(plan.content, plan.start, plan.end)) {
      for (const part of parts(chunk.subarray(0, most - sent), limiters)) {
        if (hold !== undefined && sent >= hold.afterBytes) await abortable(hold.until, gone.signal);
        for (const limiter of limiters) await limiter.take(part.length, { signal: gone.signal });
        await write(response, part, gone.signal);
        sent += part.length;
        troubles.onSent(part.length, sent);
      }
      if (sent >= most) break;
    }
  }
  if (cut !== undefined && sent >= cut.afterBytes) {
    if (cut.reset === true) response.socket?.resetAndDestroy();
    else response.socket?.destroy();
  } else if (stall === undefined || sent < stall.afterBytes) {
    response.end();
  } else if (!gone.signal.aborted) {
    await once(gone.signal, 'abort');
  }
}

/** Cuts a chunk so that one part takes at most a twentieth of a second. */
function* parts(chunk: Uint8Array, limiters: readonly RateLimiter[]): Generator<Uint8Array> {
  const rates = limiters.map((limiter) => limiter.bytesPerSecond).filter((rate) => rate > 0);
  const size = Math.max(512, Math.floor(Math.min(Infinity, ...rates) / 20));
  for (let start = 0; start < chunk.length; start += size) {
    yield chunk.subarray(start, Math.min(chunk.length, start + size));
  }
}

async function write(
  response: ServerResponse,
  bytes: Uint8Array,
  gone: AbortSignal,
): Promise<void> {
  gone.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const onGone = (): void => reject(new Error('the client went away'));
    gone.addEventListener('abort', onGone, { once: true });
    response.write(bytes, (error) => {
      gone.removeEventListener('abort', onGone);
      if (error === null || error === undefined) resolve();
      else reject(error);
    });
  });
}
