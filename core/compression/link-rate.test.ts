import test from 'ava';
import { LinkRate } from './link-rate.ts';

const BLOCK = 262_144;

/** A link that delivers so many bytes a ms, `blocks` at a time on their way, each asked for as one arrives. */
function deliver(
  rate: LinkRate,
  about: { readonly bytesPerMs: number; readonly blocks: number; readonly from?: number },
): number {
  const { bytesPerMs, blocks, from = 0 } = about;
  const arrivals: { token: number | undefined; atMs: number }[] = [];
  let [nowMs, freeMs] = [from, from];
  for (let block = 0; block < blocks; block += 1) {
    if (arrivals.length === 4) {
      const first = arrivals.shift();
      nowMs = first?.atMs ?? nowMs;
      if (first?.token !== undefined) rate.answered(first.token, nowMs);
    }
    freeMs = Math.max(freeMs, nowMs) + BLOCK / bytesPerMs;
    // The socket takes it at once, whatever the link does.
    arrivals.push({ token: rate.sent(BLOCK, nowMs), atMs: freeMs });
  }
  for (const { token, atMs } of arrivals) if (token !== undefined) rate.answered(token, atMs);
  return freeMs;
}

test('LinkRate says what a link delivers, though sockets take all at once', (t) => {
  for (const bytesPerMs of [125, 1_000, 6_250, 100_000]) {
    const rate = new LinkRate();
    t.is(rate.bytesPerSecond, undefined);
    deliver(rate, { bytesPerMs, blocks: 300 });
    const seen = (rate.bytesPerSecond ?? 0) / 1_000;
    t.true(Math.abs(seen / bytesPerMs - 1) < 0.05, `${seen} of ${bytesPerMs}`);
  }
});

test('LinkRate follows a link that gets faster or slower within a few MiB', (t) => {
  const rate = new LinkRate();
  const slowEnd = deliver(rate, { bytesPerMs: 5_000, blocks: 100 });
  const fastEnd = deliver(rate, { bytesPerMs: 50_000, blocks: 40, from: slowEnd });
  t.true((rate.bytesPerSecond ?? 0) > 25e6, `${rate.bytesPerSecond}`);
  deliver(rate, { bytesPerMs: 5_000, blocks: 40, from: fastEnd });
  t.true((rate.bytesPerSecond ?? 0) < 7e6, `${rate.bytesPerSecond}`);
});

test('LinkRate does not take the time in which nothing was asked for for a slow link', (t) => {
  const rate = new LinkRate();
  let nowMs = 0;
  for (let block = 0; block < 400; block += 1) {
    const token = rate.sent(BLOCK, nowMs);
    if (token !== undefined) rate.answered(token, nowMs + 2);
    nowMs += 400;
  }
  t.is(Math.round(rate.bytesPerSecond ?? 0), BLOCK * 500);
});

test('LinkRate does not count a pause after the end of what was sent', (t) => {
  const rate = new LinkRate();
  const end = deliver(rate, { bytesPerMs: 100_000, blocks: 400 });
  const before = rate.bytesPerSecond ?? 0;
  rate.sent(20_000, end);
  rate.rest();
  const token = rate.sent(BLOCK, end + 400) ?? 0;
  rate.answered(token, end + 403);
  t.true(Math.abs((rate.bytesPerSecond ?? 0) / before - 1) < 0.1, `${rate.bytesPerSecond}`);
});

test('LinkRate pings at most each 10 ms, each 128 KiB, sixteen at a time, and believes its own tokens only', (t) => {
  const rate = new LinkRate();
  t.is(rate.sent(1_000, 0), undefined);
  t.is(rate.sent(BLOCK, 1), 1);
  t.is(rate.sent(BLOCK, 2), undefined);
  rate.answered(7, 3);
  t.is(rate.bytesPerSecond, undefined);
  for (let block = 0; block < 100; block += 1) rate.sent(BLOCK, 20 + 20 * block);
  t.is(rate.sent(BLOCK, 10_000), undefined);
  rate.answered(16, 10_001);
  t.is(rate.sent(BLOCK, 10_002), 17);
  t.true((rate.bytesPerSecond ?? 0) > 0);
});

test('LinkRate says nothing of the first moment, in which it is the reader that is slow', (t) => {
  const rate = new LinkRate();
  deliver(rate, { bytesPerMs: 100_000, blocks: 8 });
  t.is(rate.bytesPerSecond, undefined, '2 MiB in 21 ms');
  deliver(rate, { bytesPerMs: 100_000, blocks: 200, from: 1_000 });
  t.is(rate.bytesPerSecond, undefined, '52 MiB in 0.55 s');
  deliver(rate, { bytesPerMs: 100_000, blocks: 64, from: 2_000 });
  t.not(rate.bytesPerSecond, undefined);
  deliver(rate, { bytesPerMs: 50_000, blocks: 8, from: 5_000 });
  t.is(rate.bytesPerSecond, undefined, 'after a pause');
  const slow = new LinkRate();
  deliver(slow, { bytesPerMs: 25_000, blocks: 16 });
  t.not(slow.bytesPerSecond, undefined, '4 MiB in 170 ms');
});
