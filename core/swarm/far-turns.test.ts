import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { KeyedRates } from '../net/keyed-rates.ts';
import { FLAG_LAST, frameTypes } from '../net/link/frame.ts';
import { Inflow } from '../net/link/inflow.ts';
import { RateLimiter } from '../net/pacing.ts';
import { FarTurns } from './far-turns.ts';

const PIECE = 262_144;
const STEP_MS = 50;
const ROUND_TRIP_MS = 100;
const account = { priority: 'normal', flow: undefined } as const;
const piece = { bytes: PIECE, account };
const content = new Uint8Array(PIECE);

/** A host of another idc than east, and what may come from there. */
function farHost(bytesPerSecond: number): {
  readonly clock: ManualClock;
  readonly limiter: RateLimiter;
  readonly turns: FarTurns;
} {
  const clock = new ManualClock();
  const rates = new KeyedRates(() => bytesPerSecond, clock);
  return { clock, limiter: rates.limiter('east'), turns: new FarTurns(rates, clock) };
}

/** The piece comes after a round trip, all of it at once, and passes its limit, as in a link thread. */
async function come(inflow: Inflow, clock: ManualClock, memory: SharedArrayBuffer): Promise<void> {
  await clock.sleep(ROUND_TRIP_MS);
  const { promise, resolve } = Promise.withResolvers<void>();
  let passed = 0;
  const arrival = {
    account,
    limiter: undefined,
    farLimiter: new RateLimiter(memory, clock),
    pass: ({ bytes }: { bytes: Uint8Array }) => {
      passed += bytes.length;
      if (passed === PIECE) resolve();
    },
  };
  const { data: type } = frameTypes;
  const header = { type, flags: FLAG_LAST, channel: 1, length: PIECE, a: 0, b: 0 };
  inflow.take(arrival, { header, at: 0, bytes: content });
  await promise;
}

/** Sixteen that take piece after piece, and rest as a parent does that is busy; bytes that passed, and when nobody was seen to want more. */
async function takeOn(
  bytesPerSecond: number,
  seconds: number,
): Promise<{ readonly passed: number; readonly unseenMs: number }> {
  const { clock, limiter, turns } = farHost(bytesPerSecond);
  const inflow = new Inflow(undefined);
  const controller = new AbortController();
  const { signal } = controller;
  const taking = Array.from({ length: 16 }, async () => {
    while (!signal.aborted) {
      try {
        using _turn = await turns.take('east', { ...piece, signal });
        await come(inflow, clock, limiter.shared);
      } catch (error) {
        if (signal.aborted) return;
        const { code, detail } = CodedError.from(error);
        if (code !== 'ERR_BUSY') throw error;
        await clock.sleep(Number(detail['retryAfterMs']));
      }
    }
  });
  let unseenMs = 0;
  let held = 0;
  let before = 0;
  for (let ms = 0; ms < (seconds + 4) * 1_000; ms += STEP_MS) {
    if (ms === 4_000) before = limiter.passedBytes;
    // As a host tells the supernode: somebody waits, or had to since the last second.
    if (ms % 1_000 === 0 && ms > 0) {
      if (!limiter.isHolding && limiter.heldBytes === held) unseenMs += 1_000;
      held = limiter.heldBytes;
    }
    clock.advance(STEP_MS);
    await setImmediate();
  }
  const passed = limiter.passedBytes - before;
  controller.abort();
  for (let ms = 0; ms < 30_000; ms += STEP_MS) {
    clock.advance(STEP_MS);
    await setImmediate();
  }
  await Promise.all(taking);
  return { passed, unseenMs };
}

test('FarTurns lets pieces come at the rate, within 1 %, also where one takes seconds', async (t) => {
  for (const rate of [PIECE / 4, PIECE / 1.07, PIECE / 0.3, 10_000_000]) {
    const { passed, unseenMs } = await takeOn(rate, 20);
    const off = passed / (rate * 20) - 1;
    t.true(Math.abs(off) < 0.01, `${passed} bytes at ${rate} B/s: ${off}`);
    t.is(unseenMs, 0, `at ${rate} B/s nobody was seen to wait for ${unseenMs} ms`);
  }
});

test('FarTurns.take() gives up on what would take long, and says when to come again', async (t) => {
  const { clock, limiter, turns } = farHost(PIECE / 60);
  const { signal } = new AbortController();
  using _first = await turns.take('east', { ...piece, signal });
  using _second = await turns.take('east', { ...piece, signal });
  limiter.reserve(2 * PIECE);
  const third = t.throwsAsync(turns.take('east', { ...piece, signal }), { code: 'ERR_BUSY' });
  clock.advance(4_999);
  await setImmediate();
  clock.advance(1);
  const error = await third;
  t.is(CodedError.from(error).detail['retryAfterMs'], 500);
});

test('FarTurns.take() waits for nothing where there is no budget', async (t) => {
  const { turns } = farHost(0);
  const { signal } = new AbortController();
  for (let at = 0; at < 10; at += 1) t.truthy(await turns.take('east', { ...piece, signal }));
});
