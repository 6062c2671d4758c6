/** A counter of bytes as it stood at a moment, ms of a clock that only goes on. */
export interface ByteSample {
  readonly atMs: number;
  readonly bytes: number;
}

/** Mean bytes a second between the first and the last sample of `[fromMs, toMs]`; undefined where there are not two. */
export function rateWithin(
  samples: readonly ByteSample[],
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
): number | undefined {
  const inside = samples.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs);
  const [first] = inside;
  const last = inside.at(-1);
  if (first === undefined || last === undefined || last.atMs === first.atMs) return undefined;
  return rateBetween(first, last);
}

/** Seconds from `fromMs` to the begin of the first window of `windowMs` with this rate or more; undefined: there is none. */
export function secondsUntil(
  samples: readonly ByteSample[],
  about: { readonly fromMs: number; readonly rate: number; readonly windowMs: number },
): number | undefined {
  const { fromMs, rate, windowMs } = about;
  const later = samples.filter(({ atMs }) => atMs >= fromMs);
  for (const begin of later) {
    const end = later.find(({ atMs }) => atMs >= begin.atMs + windowMs);
    if (end === undefined) return undefined;
    if (rateBetween(begin, end) >= rate) return (begin.atMs - fromMs) / 1000;
  }
  return undefined;
}

/** The most that passed in any window of `windowMs` from `fromMs` on, bytes a second; 0 where there is none. */
export function mostWithin(
  samples: readonly ByteSample[],
  { fromMs, windowMs }: { readonly fromMs: number; readonly windowMs: number },
): number {
  const later = samples.filter(({ atMs }) => atMs >= fromMs);
  const rates = later.flatMap((begin) => {
    const end = later.find(({ atMs }) => atMs >= begin.atMs + windowMs);
    return end === undefined ? [] : [rateBetween(begin, end)];
  });
  return Math.max(0, ...rates);
}

function rateBetween(begin: ByteSample, end: ByteSample): number {
  return ((end.bytes - begin.bytes) * 1000) / (end.atMs - begin.atMs);
}
