import test from 'ava';
import * as fc from 'fast-check';
import { CodedError } from '../base/error.ts';
import type { ErrorDetail } from '../base/error.ts';
import type { ErrorCode } from '../base/error-codes.ts';
import { SeededRandom } from '../base/random.ts';
import { isPassing, parseRetryAfter, planRetry } from './retry-policy.ts';

const limits = {
  maxAttempts: 3,
  retryFirstMs: 100,
  retryMaxMs: 1000,
  maxRetryAfterMs: 60_000,
  retryTotalMs: 100_000,
};
const failed = (code: ErrorCode, detail: ErrorDetail = {}): CodedError =>
  new CodedError(code, 'x', { detail });
const plan = (error: CodedError, failures = 1, elapsedMs = 0): number | undefined =>
  planRetry(error, { failures, elapsedMs }, { limits, random: new SeededRandom(1) });

test('isPassing() is true of trouble that may pass and false of answers that stand', (t) => {
  const passing = [
    failed('ERR_ORIGIN_FAILING', { status: 503 }),
    failed('ERR_ORIGIN_STALLED'),
    failed('ERR_ORIGIN_SHORT'),
    failed('ERR_ORIGIN_UNREACHABLE', { reason: 'ECONNREFUSED' }),
    failed('ERR_ORIGIN_REFUSED', { status: 408 }),
    failed('ERR_ORIGIN_REFUSED', { status: 425 }),
    failed('ERR_ORIGIN_REFUSED', { status: 429 }),
  ];
  const standing = [
    failed('ERR_ORIGIN_REFUSED', { status: 404 }),
    failed('ERR_ORIGIN_REFUSED', { status: 401 }),
    failed('ERR_ORIGIN_FAILING', { final: true }),
    failed('ERR_ORIGIN_UNREACHABLE', { reason: 'CERT_HAS_EXPIRED', tls: true }),
    failed('ERR_ORIGIN_UNREACHABLE', { reason: 'ENOTFOUND' }),
    failed('ERR_ORIGIN_CHANGED'),
    failed('ERR_ORIGIN_FORBIDDEN'),
    failed('ERR_ORIGIN_RANGE'),
    failed('ERR_INTERRUPTED'),
    failed('ERR_URL'),
  ];
  for (const error of passing) t.true(isPassing(error), error.code);
  for (const error of standing) t.false(isPassing(error), error.code);
});

test('planRetry() waits longer each time and gives up after maxAttempts', (t) => {
  const error = failed('ERR_ORIGIN_FAILING');
  const first = plan(error, 1) ?? 0;
  const second = plan(error, 2) ?? 0;
  t.true(first >= 50 && first <= 100);
  t.true(second >= 100 && second <= 200);
  t.is(plan(error, 3), undefined);
});

test('planRetry() waits at least Retry-After, and gives up on one beyond the bound', (t) => {
  const short = plan(failed('ERR_ORIGIN_FAILING', { retryAfterMs: 5000 })) ?? 0;
  t.true(short >= 5000 && short <= 6250, String(short));
  const long = plan(failed('ERR_ORIGIN_REFUSED', { status: 429, retryAfterMs: 60_000 })) ?? 0;
  t.true(long >= 60_000 && long <= 75_000, String(long));
  t.is(plan(failed('ERR_ORIGIN_REFUSED', { status: 429, retryAfterMs: 61_000 })), undefined);
});

test('planRetry() starts nothing past the total bound', (t) => {
  t.is(plan(failed('ERR_ORIGIN_FAILING'), 1, 99_990), undefined);
  t.is(plan(failed('ERR_ORIGIN_FAILING', { retryAfterMs: 60_000 }), 1, 50_000), undefined);
});

test('parseRetryAfter() reads seconds and dates and ignores the rest', (t) => {
  const now = Date.parse('Wed, 21 Oct 2015 07:28:00 GMT');
  t.is(parseRetryAfter('120', now), 120_000);
  t.is(parseRetryAfter(' 0 ', now), 0);
  t.is(parseRetryAfter('Wed, 21 Oct 2015 07:28:30 GMT', now), 30_000);
  t.is(parseRetryAfter('Wed, 21 Oct 2015 07:27:00 GMT', now), 0);
  for (const text of [undefined, '', '-1', '1.5', 'soon', '2015 AD', '9999999999']) {
    t.is(parseRetryAfter(text, now), undefined, text);
  }
  fc.assert(
    fc.property(fc.string(), (text) => {
      const ms = parseRetryAfter(text, now);
      return ms === undefined || (Number.isFinite(ms) && ms >= 0);
    }),
  );
});
