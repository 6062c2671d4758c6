import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { Account } from '../net/fair-line.ts';
import type { RateLimiter } from '../net/pacing.ts';

/** What waits longer for the budget between two idcs is asked of somebody else, if there is one, for so long. */
const PATIENCE_MS = 500;
const MOST_PATIENCE_MS = 5_000;
/** Where pieces pass more slowly, as long as it takes so many: somebody is to wait all the time, or the cell takes the share for unused. */
const PIECES = 3;

/** A piece that comes from another idc. */
export interface FarPiece {
  readonly otherIdc: string;
  readonly bytes: number;
  readonly account: Account;
}

/** Resolves when the piece is paid for and may be asked for; ERR_BUSY with `retryAfterMs` when that would take long. */
export async function payFar(
  limiter: RateLimiter,
  { otherIdc, bytes, account }: FarPiece,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  const { bytesPerSecond } = limiter;
  if (bytesPerSecond === 0) return void limiter.reserve(bytes);
  const piecesMs = (PIECES * bytes * 1_000) / bytesPerSecond;
  const patienceMs = Math.min(MOST_PATIENCE_MS, Math.max(PATIENCE_MS, piecesMs));
  using patience = clock.deadline(patienceMs, { signal });
  try {
    await limiter.take(bytes, { signal: patience.signal, account });
  } catch (cause) {
    signal.throwIfAborted();
    const message = `no more may come from ${otherIdc} at this moment`;
    throw new CodedError('ERR_BUSY', message, { cause, detail: { retryAfterMs: PATIENCE_MS } });
  }
}
