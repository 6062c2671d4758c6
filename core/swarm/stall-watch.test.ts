import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { StallWatch } from './stall-watch.ts';

/** Lets `seconds` pass, with `bytesPerSecond` coming in; the second at which it was found stalled. */
function run(
  parts: {
    readonly clock: ManualClock;
    readonly watch: StallWatch;
    /** Parents in all, and what each other one brings, bytes per second. */
    readonly line?: { readonly parents: number; readonly each: number };
    readonly askedBytes?: number;
  },
  seconds: number,
  bytesPerSecond: number,
): number | undefined {
  const { clock, watch, askedBytes = 0 } = parts;
  const { parents, each } = parts.line ?? { parents: 1, each: 0 };
  for (let tenths = 0; tenths < seconds * 10; tenths += 1) {
    clock.advance(100);
    const bytes = (tenths * bytesPerSecond) / 10;
    const allBytes = bytes + ((parents - 1) * tenths * each) / 10;
    const received = { bytes, allBytes, parents, isHeldBack: false, askedBytes };
    if (watch.isCountDue() && watch.note(received)) return tenths / 10;
  }
  return undefined;
}

test('StallWatch finds a parent that is asked and brings nothing within six seconds', (t) => {
  const clock = new ManualClock();
  const watch = new StallWatch(clock);
  watch.asked();
  const found = run({ clock, watch }, 60, 0) ?? Infinity;
  t.true(found > 4 && found < 6, `after ${found} s`);
  t.true(watch.isStalled);
  clock.advance(29_000);
  t.true(watch.isStalled);
  clock.advance(2_000);
  t.false(watch.isStalled);
});

test('StallWatch leaves a slow parent alone, and one that trickles not', (t) => {
  for (const [rate, isStalled] of [
    [40_000, false],
    [100, true],
  ] as const) {
    const clock = new ManualClock();
    const watch = new StallWatch(clock);
    watch.asked();
    t.is(run({ clock, watch }, 60, rate) !== undefined, isStalled, `${rate} bytes/s`);
  }
});

test('StallWatch leaves each of many parents alone that share a slow line, and finds the one that brings nothing', (t) => {
  for (const [rate, isStalled] of [
    [15_000, false],
    [4_000, false],
    [1_000, true],
    [0, true],
  ] as const) {
    const clock = new ManualClock();
    const watch = new StallWatch(clock);
    watch.asked();
    const line = { parents: 14, each: 16_000 };
    t.is(run({ clock, watch, line }, 60, rate) !== undefined, isStalled, `${rate} bytes/s`);
  }
  const clock = new ManualClock();
  const watch = new StallWatch(clock);
  watch.asked();
  const line = { parents: 4, each: 5_000_000 };
  t.true(run({ clock, watch, line }, 60, 15_000) !== undefined, 'where others are fast');
});

test('StallWatch gives a parent the time of three times all that is asked of anybody, and half a minute at most', (t) => {
  const line = { parents: 15, each: 16_000 };
  for (const [pieces, fromS, toS] of [
    [1, 4, 6],
    [8, 29, 31],
    [64, 31, 34],
  ] as const) {
    const clock = new ManualClock();
    const watch = new StallWatch(clock);
    watch.asked();
    const found = run({ clock, watch, line, askedBytes: pieces * 262_144 }, 120, 0) ?? Infinity;
    t.true(found >= fromS && found <= toS, `${pieces} pieces: after ${found} s`);
  }
});

test('StallWatch waits no longer than is usual once nothing comes of anybody', (t) => {
  const clock = new ManualClock();
  const watch = new StallWatch(clock);
  watch.asked();
  const line = { parents: 15, each: 16_000 };
  t.is(run({ clock, watch, line, askedBytes: 16_777_216 }, 12, 0), undefined);
  const allBytes = 14 * 16_000 * 11.9;
  let found = Infinity;
  for (let tenths = 1; tenths < 300 && found === Infinity; tenths += 1) {
    clock.advance(100);
    const dry = { bytes: 0, allBytes, parents: 15, isHeldBack: false, askedBytes: 16_777_216 };
    if (watch.isCountDue() && watch.note(dry)) found = tenths / 10;
  }
  t.true(found < 4.5, `after ${found} s`);
});

test('StallWatch leaves a parent alone whose bytes wait for a limit of this host', (t) => {
  const clock = new ManualClock();
  const watch = new StallWatch(clock);
  watch.asked();
  for (let second = 0; second < 60; second += 1) {
    clock.advance(1_000);
    const came = { bytes: 1_000_000, allBytes: 1_000_000, askedBytes: 0 };
    const received = { ...came, parents: 1, isHeldBack: true };
    if (watch.isCountDue()) t.false(watch.note(received));
  }
  t.true(run({ clock, watch }, 60, 0) !== undefined, 'and not when they do no longer');
});

test('StallWatch counts nothing while nothing is asked, nor while whole pieces come', (t) => {
  const clock = new ManualClock();
  const watch = new StallWatch(clock);
  t.is(run({ clock, watch }, 60, 0), undefined);
  watch.asked();
  for (let piece = 0; piece < 60; piece += 1) {
    clock.advance(1_000);
    t.false(watch.isCountDue());
    watch.brought();
  }
  watch.rest();
  t.is(run({ clock, watch }, 60, 0), undefined);
});

test('StallWatch avoids a parent longer each time, and no longer once it brings something', (t) => {
  const clock = new ManualClock();
  const watch = new StallWatch(clock);
  watch.asked();
  run({ clock, watch }, 60, 0);
  clock.advance(31_000);
  t.false(watch.isStalled);
  run({ clock, watch }, 60, 0);
  clock.advance(31_000);
  t.true(watch.isStalled);
  watch.brought();
  t.false(watch.isStalled);
});
