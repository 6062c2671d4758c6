import type { Random } from '../../core/base/random.ts';

/** An id that sorts after those of earlier times (ms): 17 characters of `[0-9a-z]`, of which 8 are chance. */
export function newTimeId(now: number, random: Random): string {
  const rest = random
    .below(36 ** 8)
    .toString(36)
    .padStart(8, '0');
  return `${now.toString(36).padStart(9, '0')}${rest}`;
}
