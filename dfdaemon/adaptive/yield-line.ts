/**
 * How much of one direction of its line this host may take while others of the same machine use it: a pure function
 * from looks at byte counters to a ceiling and the reason for it.
 *
 * Many connections of ours against one of somebody else's share a full line by their number, so who is not to suffer
 * must find the line not full. What the line can carry is learned from what it carried while we took all we could. While
 * others move something we keep below what is left, and by as much again as they have while they still grow: so they
 * find room at every look, up to the whole line, and what they do not take for a while we take, a little at a time. As
 * nobody can see from outside what a line that is not full could carry, we try now and then whether more goes through.
 * When others are gone there is no ceiling at once.
 */
import { humanBytes } from '../../core/base/units.ts';
import { causes } from './cause.ts';
import type { Cause } from './cause.ts';
import { ratesOf, slide } from './line-window.ts';
import type { LineRates, LineSample, LineWindow } from './line-window.ts';
import { highest, noPeak, seePeak } from './peak-rate.ts';
import type { PeakRate } from './peak-rate.ts';

/** What is decided for one direction of the line. */
export interface LineDecision {
  /** Most payload of ours, bytes per second; 0 is no ceiling. */
  readonly ceiling: number;
  readonly cause: Cause;
  /** The same in words, with figures. */
  readonly reason: string;
  /** What others of this machine move, bytes per second, and what the line can carry as far as is known; 0: unknown. */
  readonly others: number;
  readonly capacity: number;
}

/** What is remembered from look to look. */
export interface LineMemory {
  readonly window: LineWindow;
  readonly peak: PeakRate;
  /** What the counts of others seemed to fall by, over a short and a long time: so much may be noise. */
  readonly noise: { readonly short: PeakRate; readonly long: PeakRate };
  /** For so long we have taken what we could get, without a ceiling. */
  readonly freeMs: number;
  /** Present while we yield. */
  readonly yielding: Yielding | undefined;
  readonly decision: LineDecision;
}

interface Yielding {
  readonly ceiling: number;
  /** So much more than what others have is left free, as a part of that. */
  readonly room: number;
  /** For so long others have moved next to nothing. */
  readonly quietMs: number;
  readonly trial: Trial;
  /** Time to go until what others do is no longer what a trial did to them. */
  readonly settleMs: number;
  readonly listenMs: number;
}

/** Whether more goes through than was seen: tried at growing intervals as long as it does not, and in growing steps. */
interface Trial {
  /** Until the next begins, and how long that is from the end of one to the begin of another. */
  readonly waitMs: number;
  readonly pauseMs: number;
  readonly running: RunningTrial | undefined;
}

interface RunningTrial {
  readonly leftMs: number;
  /** What the line was thought to carry when it began, and how often that is to go through. */
  readonly capacity: number;
  readonly times: number;
  readonly ceiling: number;
}

/** Others that move less are not noticed, bytes per second, and as a part of what the line carries. */
const LEAST_OTHERS = 64 * 1024;
const LEAST_OTHERS_PART = 0.03;
/** So long without others, and there is no ceiling. */
const QUIET_MS = 500;
/** After so long without a ceiling, with something of ours to do, the line has shown what it carries. */
const LEARN_MS = 3_000;
/** Never taken less than this, as a part of what the line carries and in bytes per second: nothing stands still. */
const LEAST_PART = 0.02;
const LEAST = 32 * 1024;
/** Part of the line that stays free, whoever uses it. */
const SPARE_PART = 0.05;
/** Room for others to grow into: as much as they have while they grow, a tenth of it once they do not. */
const ROOM = 1;
const LEAST_ROOM = 0.1;
const ROOM_LOSS_PER_SECOND = 0.5;
const GROWTH = 1.1;
/** A rise is of others when it is so many times what noise was seen to be. */
const OVER_NOISE = 2.5;
/** The ceiling is raised by this part of the line a second, and lowered at once. */
const RAISE_PER_SECOND = 0.1;
/** So long we take the least when others were noticed: what they do with the room tells what they want. */
const LISTEN_MS = 1_000;
const TRIAL_MS = 1_000;
const FIRST_TIMES = 1.1;
const MOST_TIMES = 2;
/** What is left free beside others at rest, and a little more: where a trial begins. */
const FIRST_STEP = 0.15;
/** More than jitter goes through. */
const GAIN = 1.04;
const SETTLE_MS = 1_500;
const FIRST_PAUSE_MS = 4_000;
const LONGEST_PAUSE_MS = 16_000;
/** Our own below this part of the line is not using it. */
const OWN_PART = 0.02;

const open = (cause: Cause, others = 0, capacity = 0): LineDecision => ({
  ceiling: 0,
  cause,
  reason: causes[cause],
  others: Math.round(others),
  capacity: Math.round(capacity),
});

/** Before the first look. */
export const freshLine: LineMemory = {
  window: [],
  peak: noPeak,
  noise: { short: noPeak, long: noPeak },
  freeMs: 0,
  yielding: undefined,
  decision: open('starting'),
};

/** The memory, and with it the decision, after one more look. */
export function lookAtLine(memory: LineMemory, sample: LineSample): LineMemory {
  const window = slide(memory.window, sample);
  const rates = ratesOf(window);
  if (rates === undefined) return { ...memory, window };
  const looked = learn({ ...memory, window }, rates, sample.ms);
  return decide(looked, rates, sample.ms);
}

/** A rest without looks: what is known of the line stays, what was seen on it does not. */
export function restOfLine(memory: LineMemory): LineMemory {
  const { peak, noise, freeMs } = memory;
  return { ...freshLine, peak, noise, freeMs };
}

function learn(memory: LineMemory, rates: LineRates, ms: number): LineMemory {
  const isOurs = rates.own > LEAST_OTHERS;
  const isFree = memory.yielding === undefined;
  const freeMs = isFree && isOurs ? memory.freeMs + ms : memory.freeMs;
  // What is seen while nobody wants more than there is says nothing of the line: a host at rest learns nothing.
  const isSeen = isOurs || rates.total > highest(memory.peak);
  // Without others nothing is forgotten: a line that fell silent is not one that became slow.
  const passes = rates.others > LEAST_OTHERS && isOurs ? ms : 0;
  const peak = isSeen ? seePeak(memory.peak, rates.total, passes) : memory.peak;
  return {
    ...memory,
    freeMs,
    peak,
    noise: isFree ? noiseOf(memory.noise, rates, ms) : memory.noise,
  };
}

function noiseOf(
  noise: LineMemory['noise'],
  { short, long }: LineRates,
  ms: number,
): LineMemory['noise'] {
  return {
    short: seePeak(noise.short, short.fall, ms),
    long: long === undefined ? noise.long : seePeak(noise.long, long.fall, ms),
  };
}

function decide(memory: LineMemory, rates: LineRates, ms: number): LineMemory {
  const capacity = memory.freeMs < LEARN_MS ? 0 : highest(memory.peak);
  const least = Math.max(LEAST_OTHERS, LEAST_OTHERS_PART * capacity);
  const { yielding } = memory;
  if (yielding === undefined) {
    const isNoticed = rates.others > least && rises(memory, rates, least);
    if (isNoticed && capacity > 0)
      return yieldTo(memory, { rates, capacity, ms, noise: memory.noise.short });
    const cause = whyOpen({ isNoticed, rates, capacity });
    return { ...memory, decision: open(cause, rates.others, capacity) };
  }
  const quietMs = rates.others < least / 2 ? yielding.quietMs + ms : 0;
  if (quietMs >= QUIET_MS) {
    const decision = open('alone', rates.others, capacity);
    // What is seen from here on is another time: what comes late of this one is not to be taken for noise.
    return { ...memory, window: [], yielding: undefined, decision };
  }
  const look = { rates, capacity, ms, noise: memory.noise.short };
  const next = quietMs > 0 ? { ...yielding, quietMs } : adjust({ ...yielding, quietMs }, look);
  return { ...memory, yielding: next, decision: yieldDecision(next, look) };
}

function rises({ noise }: LineMemory, { short, long }: LineRates, least: number): boolean {
  const above = (rise: number, peak: PeakRate): boolean =>
    rise > least + OVER_NOISE * highest(peak);
  return above(short.rise, noise.short) || (long !== undefined && above(long.rise, noise.long));
}

function whyOpen(seen: {
  readonly isNoticed: boolean;
  readonly rates: LineRates;
  readonly capacity: number;
}): Cause {
  if (seen.rates.own < Math.max(LEAST, OWN_PART * seen.capacity)) return 'idle';
  return seen.isNoticed ? 'learning' : 'alone';
}

interface Look {
  readonly rates: LineRates;
  readonly noise: PeakRate;
  readonly capacity: number;
  readonly ms: number;
}

function yieldTo(memory: LineMemory, look: Look): LineMemory {
  const trial = { waitMs: FIRST_PAUSE_MS, pauseMs: FIRST_PAUSE_MS, running: undefined };
  const begun = { ceiling: 0, room: ROOM, quietMs: 0, trial, settleMs: 0, listenMs: LISTEN_MS };
  const yielding = adjust(begun, { ...look, ms: 0 });
  return { ...memory, yielding, decision: yieldDecision(yielding, look) };
}

function adjust(yielding: Yielding, look: Look): Yielding {
  const { rates, capacity, noise, ms } = look;
  const isSettled = yielding.settleMs === 0;
  const isGrowing = isSettled && rates.others > rates.othersBefore * GROWTH + highest(noise);
  const worn = Math.max(LEAST_ROOM, yielding.room - (ROOM_LOSS_PER_SECOND * ms) / 1_000);
  const room = isGrowing ? ROOM : worn;
  const trial = nextTrial(yielding, look, room > LEAST_ROOM);
  const isTrying = trial.running !== undefined;
  const settleMs = isTrying ? SETTLE_MS : Math.max(0, yielding.settleMs - ms);
  const listenMs = Math.max(0, yielding.listenMs - ms);
  const next = { ...yielding, room, trial, settleMs, listenMs };
  const least = Math.max(LEAST, capacity * LEAST_PART);
  if (listenMs > 0) return { ...next, ceiling: least };
  // What others do in a trial and just after it is what the trial did to them.
  if (isTrying) return next;
  const target = capacity * (1 - SPARE_PART) - rates.others * (1 + room);
  const raise = isSettled ? (capacity * RAISE_PER_SECOND * ms) / 1_000 : 0;
  const most = yielding.listenMs > 0 ? target : Math.min(target, yielding.ceiling + raise);
  return { ...next, ceiling: Math.max(least, most) };
}

function nextTrial({ trial, ceiling }: Yielding, look: Look, isTooEarly: boolean): Trial {
  const { running, pauseMs, waitMs } = trial;
  const { rates, ms } = look;
  if (running === undefined) {
    if (waitMs > ms || isTooEarly) return { ...trial, waitMs: Math.max(0, waitMs - ms) };
    return { ...trial, waitMs: pauseMs, running: newTrial(FIRST_TIMES, ceiling, look) };
  }
  if (running.leftMs > ms) {
    return { ...trial, running: { ...running, leftMs: running.leftMs - ms } };
  }
  if (rates.total > running.capacity * GAIN) {
    // As others do not get less: the next step is twice as large, and follows at once.
    const times = Math.min(MOST_TIMES, 1 + (running.times - 1) * 2);
    return {
      waitMs: FIRST_PAUSE_MS,
      pauseMs: FIRST_PAUSE_MS,
      running: newTrial(times, ceiling, look),
    };
  }
  const longer = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
  return { waitMs: longer, pauseMs: longer, running: undefined };
}

function newTrial(times: number, ceiling: number, { rates, capacity }: Look): RunningTrial {
  // Others may just have paused: what is tried is a step from what holds.
  const step = ceiling + capacity * (times - 1 + FIRST_STEP);
  const most = Math.min(step, capacity * times - rates.others);
  return { leftMs: TRIAL_MS, capacity, times, ceiling: Math.max(ceiling, most) };
}

function yieldDecision(yielding: Yielding, { rates, capacity }: Look): LineDecision {
  const cause = yielding.trial.running === undefined ? 'yielding' : 'trying';
  const figures = `they move ${humanBytes(rates.others)}/s of the ${humanBytes(capacity)}/s that were seen to go through`;
  return {
    ceiling: Math.round(yielding.trial.running?.ceiling ?? yielding.ceiling),
    cause,
    reason: `${causes[cause]}: ${figures}`,
    others: Math.round(rates.others),
    capacity: Math.round(capacity),
  };
}
