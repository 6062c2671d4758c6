// When compressing pays. A link that takes R bytes a second carries R / r raw ones when they shrink to the share r.
// That is reached only if they are compressed faster than that, with room to spare, by processors that have nothing
// else to do; and it is worth the while of the reader only if it saves more time on the wire than decompressing takes.

/** Levels of zstd that are used, the fastest first. */
export const levels = [1, 3, 6] as const;
export type Level = (typeof levels)[number];

/** What is known when it is decided. */
export interface LevelFacts {
  /** What the link takes, bytes a second. */
  readonly linkRate: number;
  /** Compressed bytes by raw bytes of this content so far, above 0 and at most 1. */
  readonly ratio: number;
  /** Raw bytes a second that a level compresses, in time that passes, all threads together. */
  readonly speedOf: (level: Level) => number;
  /** Processors that have nothing to do, those that compress for us counted as idle; asked for last. */
  readonly idleProcessors: () => number;
}

/** A level has to be faster by so much than the link could use it. */
const SPARE = 1.5;
/** A level that costs more than the first must be faster by so much: the last few per cent are not worth a processor. */
const SPARE_ABOVE_FIRST = 4;
/** Bytes a second that a reader decompresses, at the least. */
const DECOMPRESS_RATE = 400_000_000;
/** Who takes so much a second is not held up by its link: what is measured then is how fast it reads. */
const FAST_RATE = 100_000_000;
/** So much of one processor is taken in any case. */
const FREE = 0.15;
/** Of idle processors, left for others by what takes more. */
const LEFT_IDLE = 0.25;

/** The level to compress at, or undefined to send bytes as they are. */
export function chooseLevel(facts: LevelFacts): Level | undefined {
  if (!isWorthSending(facts)) return undefined;
  const needed = facts.linkRate / facts.ratio;
  const isAffordable = (level: Level): boolean => {
    const spare = level === levels[0] ? SPARE : SPARE_ABOVE_FIRST;
    const speed = facts.speedOf(level);
    if (speed < needed * spare) return false;
    const processors = needed / speed;
    return processors <= FREE || facts.idleProcessors() >= processors + LEFT_IDLE;
  };
  return levels.findLast(isAffordable);
}

/** True for a reader that its link does not hold up. */
export function isFast(linkRate: number): boolean {
  return linkRate >= FAST_RATE;
}

/** True when a compressed form that is there already arrives sooner than the raw bytes. */
export function isWorthSending(facts: Pick<LevelFacts, 'linkRate' | 'ratio'>): boolean {
  return (1 - facts.ratio) / facts.linkRate > 1 / DECOMPRESS_RATE;
}
