import { backoffMs } from '../base/backoff.ts';
import type { CodedError } from '../base/error.ts';
import type { Random } from '../base/random.ts';

/** Bounds on asking again; times in milliseconds. */
export interface RetryLimits {
  /** Requests made in all without progress, the first included. */
  readonly maxAttempts: number;
  /** First wait; later ones double. */
  readonly retryFirstMs: number;
  readonly retryMaxMs: number;
  /** A longer `Retry-After` is not waited for. */
  readonly maxRetryAfterMs: number;
  /** No retry starts later than this after the first request. */
  readonly retryTotalMs: number;
}

/** How far a series of attempts has come. */
export interface RetryState {
  /** Attempts that failed, this one included. */
  readonly failures: number;
  /** Since the first attempt. */
  readonly elapsedMs: number;
}

/** 4xx statuses that say "not now" rather than "no". */
const patientStatuses: ReadonlySet<number> = new Set([408, 425, 429]);

/** Those who were told the same time come back over this part of it more. */
export const RETRY_AFTER_JITTER = 0.25;

/** Reasons of an unreachable origin that asking again does not mend: there is no such name. */
const lastingReasons: ReadonlySet<unknown> = new Set(['ENOTFOUND']);

/** Whether a failure of one request may pass by itself. */
export function isPassing({ code, detail }: CodedError): boolean {
  if (code === 'ERR_ORIGIN_SHORT' || code === 'ERR_ORIGIN_STALLED') return true;
  if (code === 'ERR_ORIGIN_FAILING') return detail['final'] !== true;
  if (code === 'ERR_ORIGIN_UNREACHABLE') {
    return detail['tls'] !== true && !lastingReasons.has(detail['reason']);
  }
  const status = detail['status'];
  return code === 'ERR_ORIGIN_REFUSED' && typeof status === 'number' && patientStatuses.has(status);
}

/** Milliseconds to wait before asking again after `error`; undefined: give up. */
export function planRetry(
  error: CodedError,
  state: RetryState,
  { limits, random }: { readonly limits: RetryLimits; readonly random: Random },
): number | undefined {
  if (!isPassing(error) || state.failures >= limits.maxAttempts) return undefined;
  const asked = error.detail['retryAfterMs'];
  const retryAfterMs = typeof asked === 'number' ? asked : 0;
  // Asking earlier than told would only add to the origin's trouble; the caller learns the time instead.
  if (retryAfterMs > limits.maxRetryAfterMs) return undefined;
  const backoff = { firstMs: limits.retryFirstMs, maxMs: limits.retryMaxMs };
  // Many are told the same time: each comes back a little later than that.
  const told = retryAfterMs * (1 + RETRY_AFTER_JITTER * random.next());
  const waitMs = Math.max(told, backoffMs(state.failures - 1, backoff, random));
  return state.elapsedMs + waitMs > limits.retryTotalMs ? undefined : waitMs;
}

/** Milliseconds from `nowMs` that a `Retry-After` header (seconds or a date) asks for; undefined when absent or malformed. */
export function parseRetryAfter(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  const trimmed = text.trim();
  if (/^\d{1,9}$/.test(trimmed)) return Number(trimmed) * 1000;
  // Date.parse takes much for a date; all three forms HTTP allows begin with the name of a day.
  const at = /^[a-z]{3,9},? /i.test(trimmed) ? Date.parse(trimmed) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}
