import type { Random } from './random.ts';

/** How long to wait before each retry: doubling from `firstMs`, never above `maxMs`. */
export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
}

/** The wait before retry `attempt` (zero-based), with full jitter in [half, whole]. */
export function backoffMs(attempt: number, options: BackoffOptions, random: Random): number {
  const whole = Math.min(options.maxMs, options.firstMs * 2 ** Math.min(attempt, 30));
  return whole / 2 + (whole / 2) * random.next();
}
