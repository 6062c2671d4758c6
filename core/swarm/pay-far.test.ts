import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { RateLimiter } from '../net/pacing.ts';
import { payFar } from './pay-far.ts';

const PIECE = 262_144;
const STEP_MS = 50;
const piece = {
  otherIdc: 'east',
  bytes: PIECE,
  account: { priority: 'normal', flow: undefined },
} as const;

/** One that pays for piece after piece and rests as a parent does that is busy; what passed, and when nobody was seen to want more. */
async function payOn(
  bytesPerSecond: number,
  seconds: number,
): Promise<{ readonly paid: number; readonly unseenMs: number }> {
  const clock = new ManualClock();
  const limiter = new RateLimiter(bytesPerSecond, clock);
  const controller = new AbortController();
  const { signal } = controller;
  let paid = 0;
  const paying = (async () => {
    while (!signal.aborted) {
      try {
        await payFar(limiter, piece, { clock, signal });
        paid += 1;
      } catch (error) {
        if (signal.aborted) return;
        const { code, detail } = CodedError.from(error);
        if (code !== 'ERR_BUSY') throw error;
        await clock.sleep(Number(detail['retryAfterMs']));
      }
    }
  })();
  let unseenMs = 0;
  let held = 0;
  for (let ms = 0; ms < seconds * 1_000; ms += STEP_MS) {
    // As a host tells the supernode: somebody waits, or had to since the last second.
    if (ms % 1_000 === 0) {
      if (!limiter.isHolding && limiter.heldBytes === held) unseenMs += 1_000;
      held = limiter.heldBytes;
    }
    clock.advance(STEP_MS);
    await setImmediate();
  }
  controller.abort();
  clock.advance(10_000);
  await paying;
  return { paid, unseenMs };
}

test('payFar() lets as much pass as the rate says, also where one piece takes seconds', async (t) => {
  for (const seconds of [0.3, 1.07, 4]) {
    const { paid, unseenMs } = await payOn(PIECE / seconds, 120);
    t.true(paid >= 0.95 * (120 / seconds), `${paid} of ${120 / seconds}`);
    t.true(paid <= 120 / seconds + 2, `${paid} of ${120 / seconds}`);
    // The first look comes before anybody waited.
    t.true(unseenMs <= 1_000, `who takes ${seconds} s for a piece was not seen for ${unseenMs} ms`);
  }
});

test('payFar() gives up on what would take long, and says when to come again', async (t) => {
  const clock = new ManualClock();
  const limiter = new RateLimiter(PIECE / 60, clock);
  const running = { clock, signal: new AbortController().signal };
  await payFar(limiter, piece, running);
  const second = t.throwsAsync(payFar(limiter, piece, running), { code: 'ERR_BUSY' });
  clock.advance(4_999);
  await setImmediate();
  t.true(limiter.isHolding);
  clock.advance(1);
  const error = await second;
  t.is(CodedError.from(error).detail['retryAfterMs'], 500);
});

test('payFar() waits for nothing where there is no budget', async (t) => {
  const limiter = new RateLimiter(0, new ManualClock());
  const signal = new AbortController().signal;
  for (let at = 0; at < 10; at += 1) {
    await payFar(limiter, piece, { clock: new ManualClock(), signal });
  }
  t.is(limiter.passedBytes, 10 * PIECE);
});
