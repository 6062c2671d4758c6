/** The highest rate that was seen of late. Time is counted by the caller, who knows when it should pass. */
export interface PeakRate {
  readonly older: number;
  readonly newer: number;
  readonly newerMs: number;
}

/** Nothing seen yet. */
export const noPeak: PeakRate = { older: 0, newer: 0, newerMs: 0 };

/** A rate is forgotten after once to twice this time. */
const TURN_MS = 20_000;

/** The peak after `rate` was seen and `ms` have passed for it. */
export function seePeak(peak: PeakRate, rate: number, ms: number): PeakRate {
  const newer = Math.max(peak.newer, rate);
  const newerMs = peak.newerMs + ms;
  if (newerMs < TURN_MS) return { older: peak.older, newer, newerMs };
  return { older: newer, newer: rate, newerMs: 0 };
}

/** The highest rate; 0 when none was seen. */
export function highest({ older, newer }: PeakRate): number {
  return Math.max(older, newer);
}
