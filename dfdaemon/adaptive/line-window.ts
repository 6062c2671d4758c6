/** What passed one direction of this host's line between two looks. */
export interface LineSample {
  readonly ms: number;
  /** All payload of all programs of the host. */
  readonly total: number;
  /** Payload of our own, as our programs counted it: late by what waits in the kernel. */
  readonly own: number;
}

/** The last looks, oldest first. */
export type LineWindow = readonly LineSample[];

/** TLS and our own frames add less than this to our payload; what is left of headers is noise too. */
const OWN_OVERHEAD = 1.003;
const SECOND = 4;
const HALF_SECOND = 2;
/** Looks over which others are told from noise: few, for those who take much, and many, for those who take little. */
const SHORT = 6;
const LONG = 16;

/** Rates seen in a window, bytes per second. */
export interface LineRates {
  /** Of everything and of our own, over the last second. */
  readonly total: number;
  readonly own: number;
  /** Of others, over the last half second, and over the half second that was a second ago. */
  readonly others: number;
  readonly othersBefore: number;
  readonly short: Trend;
  /** Absent while the window is too short. */
  readonly long: Trend | undefined;
}

/**
 * What others have moved, followed from look to look. Our own bytes are counted late, and meanwhile look like those of
 * others; then that falls again. So a rise is what was there at both of the first looks of a time and more at both of
 * the last; and as others cannot take back what they moved, a fall of the same kind is noise, and says how much noise
 * there is in a rise. Bytes per second.
 */
export interface Trend {
  readonly rise: number;
  readonly fall: number;
}

/** The window one look later. */
export function slide(window: LineWindow, sample: LineSample): LineWindow {
  return [...window, sample].slice(-LONG);
}

/** What a window shows; undefined for one that just began. */
export function ratesOf(window: LineWindow): LineRates | undefined {
  if (window.length < SHORT) return undefined;
  const second = sum(window.slice(-SECOND));
  const half = sum(window.slice(-HALF_SECOND));
  const before = sum(window.slice(-SHORT).slice(0, HALF_SECOND));
  return {
    total: rate(second.total, second.ms),
    own: rate(second.own, second.ms),
    others: rate(Math.max(0, othersOf(half)), half.ms),
    othersBefore: rate(Math.max(0, othersOf(before)), before.ms),
    short: trendOf(window.slice(-SHORT)),
    long: window.length < LONG ? undefined : trendOf(window),
  };
}

function trendOf(window: LineWindow): Trend {
  let moved = 0;
  const levels = window.map((sample) => (moved += othersOf(sample)));
  const first = levels.slice(0, HALF_SECOND);
  const last = levels.slice(-HALF_SECOND);
  const { ms } = sum(window.slice(HALF_SECOND, 1 - HALF_SECOND));
  return {
    rise: rate(Math.max(0, Math.min(...last) - Math.max(...first)), ms),
    fall: rate(Math.max(0, Math.min(...first) - Math.max(...last)), ms),
  };
}

function othersOf({ total, own }: LineSample): number {
  return total - own * OWN_OVERHEAD;
}

function sum(samples: readonly LineSample[]): LineSample {
  const all = { ms: 0, total: 0, own: 0 };
  for (const { ms, total, own } of samples) {
    all.ms += ms;
    all.total += total;
    all.own += own;
  }
  return all;
}

function rate(bytes: number, ms: number): number {
  return ms <= 0 ? 0 : (bytes * 1_000) / ms;
}
