/**
 * How fast this host may bring content to its disk, or serve it from there, while others of the same machine use that
 * disk: a pure function from looks at counters to a ceiling and the reason for it.
 *
 * A disk has no rate of its own that one could keep below: it depends on who reads what, where. So others tell: while the
 * disk is busy with them and with us we slow down step by step; if they do not get faster by that, we were not in their
 * way, and take our speed again for a while; if they do, we stay where they are fast, and try a little more from there.
 */
import { humanBytes } from '../../core/base/units.ts';
import { causes } from './cause.ts';
import type { Cause } from './cause.ts';
import { highest, noPeak, seePeak } from './peak-rate.ts';
import type { PeakRate } from './peak-rate.ts';

/** What the disk did between two looks; bytes, and ms of that time. */
export interface DiskSample {
  readonly ms: number;
  readonly read: number;
  readonly written: number;
  /** Of those our own; what we wrote is counted when it goes to the cache of the kernel, long before it is on the disk. */
  readonly ownRead: number;
  readonly ownWritten: number;
  /** The disk had something to do. */
  readonly busyMs: number;
  /** Somebody on this machine waited for a disk; undefined where the kernel does not tell. */
  readonly stalledMs: number | undefined;
}

/** What is decided for the disk. */
export interface DiskDecision {
  /** Most payload, bytes per second, of what goes to the disk and of what comes from it; 0 is no ceiling. */
  readonly writing: number;
  readonly reading: number;
  readonly cause: Cause;
  /** The same in words, with figures. */
  readonly reason: string;
  /** What others move on the disk, bytes per second. */
  readonly others: number;
  /** Part of the time that the disk was busy, 0 to 1. */
  readonly busy: number;
}

/** What is remembered from look to look. */
export interface DiskMemory {
  readonly window: readonly Shares[];
  /** Written by us and not seen on the disk yet, bytes. */
  readonly backlog: number;
  readonly yielding: Yielding | undefined;
  /** So long we do not try again whether others get faster without us. */
  readonly restMs: number;
  readonly decision: DiskDecision;
}

interface Shares {
  readonly ms: number;
  readonly others: number;
  readonly ownRead: number;
  readonly ownOnDisk: number;
  readonly ownWritten: number;
  readonly busyMs: number;
  readonly stalledMs: number | undefined;
}

interface Yielding {
  readonly writing: number;
  readonly reading: number;
  /** When others were met: what they and we moved. */
  readonly othersThen: number;
  readonly ownThen: number;
  readonly best: PeakRate;
  readonly forMs: number;
  readonly sinceStepMs: number;
  readonly quietMs: number;
  /** They got faster when we went slower. */
  readonly isProven: boolean;
}

const WINDOW_SAMPLES = 4;
const LEAST_OTHERS = 1024 * 1024;
const LEAST = 1024 * 1024;
/** Ours is no more than this part: others would notice nothing. */
const LEAST_OWN_PART = 0.05;
const BUSY = 0.6;
const STALLED = 0.05;
const STEP_MS = 1_000;
const CUT = 0.5;
/** A step up, as a part of what we moved when others were met. */
const RAISE = 0.05;
/** Below this part of their best, others suffer; so much faster than before they are when we were in their way. */
const KEPT = 0.9;
const GAIN = 1.1;
const JUDGE_MS = 5_000;
const QUIET_MS = 1_000;
const REST_MS = 30_000;
/** What waits in the cache of the kernel is written within this at most. */
const MAX_BACKLOG = 4 * 1024 * 1024 * 1024;

/** Before the first look. */
export const freshDisk: DiskMemory = {
  window: [],
  backlog: 0,
  yielding: undefined,
  restMs: 0,
  decision: {
    writing: 0,
    reading: 0,
    cause: 'starting',
    reason: causes.starting,
    others: 0,
    busy: 0,
  },
};

/** The memory, and with it the decision, after one more look. */
export function lookAtDisk(memory: DiskMemory, sample: DiskSample): DiskMemory {
  const due = Math.min(MAX_BACKLOG, memory.backlog + sample.ownWritten);
  // What reaches the disk is taken for ours as long as something of ours is due.
  const ownOnDisk = Math.min(sample.written, due);
  const ownRead = Math.min(sample.read, sample.ownRead);
  const { ms, ownWritten, busyMs, stalledMs } = sample;
  const others = sample.read - ownRead + (sample.written - ownOnDisk);
  const shares: Shares = { ms, others, ownRead, ownOnDisk, ownWritten, busyMs, stalledMs };
  const window = [...memory.window, shares].slice(-WINDOW_SAMPLES);
  const seen = { ...memory, window, backlog: due - ownOnDisk };
  if (window.length < WINDOW_SAMPLES) return seen;
  const look = lookOf(window, ms);
  if (seen.yielding !== undefined) return goOn(seen, seen.yielding, look);
  return mayBegin(seen, look);
}

interface Look {
  readonly ms: number;
  readonly others: number;
  readonly ownRead: number;
  readonly ownOnDisk: number;
  readonly ownWritten: number;
  readonly busy: number;
  readonly stalled: number | undefined;
}

function lookOf(window: readonly Shares[], ms: number): Look {
  const all = window.reduce((sum, each) => sum + each.ms, 0);
  const rate = (pick: (each: Shares) => number): number =>
    (window.reduce((sum, each) => sum + pick(each), 0) * 1_000) / all;
  const isTold = window.every(({ stalledMs }) => stalledMs !== undefined);
  return {
    ms,
    others: rate(({ others }) => others),
    ownRead: rate(({ ownRead }) => ownRead),
    ownOnDisk: rate(({ ownOnDisk }) => ownOnDisk),
    ownWritten: rate(({ ownWritten }) => ownWritten),
    busy: Math.min(1, rate(({ busyMs }) => busyMs) / 1_000),
    stalled: isTold ? rate(({ stalledMs }) => stalledMs ?? 0) / 1_000 : undefined,
  };
}

function mayBegin(memory: DiskMemory, look: Look): DiskMemory {
  const restMs = Math.max(0, memory.restMs - look.ms);
  const rested = { ...memory, restMs };
  const own = look.ownRead + look.ownOnDisk;
  if (look.others < LEAST_OTHERS) return open(rested, look, 'alone');
  if (restMs > 0) return open(rested, look, 'not in the way');
  if (own < (look.others + own) * LEAST_OWN_PART) {
    return open(rested, look, 'idle');
  }
  if (look.busy < BUSY) return open(rested, look, 'unhurt');
  if (look.stalled !== undefined && look.stalled < STALLED) {
    return open(rested, look, 'unhurt');
  }
  const yielding: Yielding = {
    writing: look.ownWritten + look.ownOnDisk > LEAST ? cut(look.ownWritten) : 0,
    reading: look.ownRead > LEAST ? cut(look.ownRead) : 0,
    othersThen: look.others,
    ownThen: own,
    best: seePeak(noPeak, look.others, 0),
    forMs: 0,
    sinceStepMs: 0,
    quietMs: 0,
    isProven: false,
  };
  return yieldWith(rested, yielding, look);
}

function goOn(memory: DiskMemory, before: Yielding, look: Look): DiskMemory {
  const quietMs = look.others < LEAST_OTHERS / 2 ? before.quietMs + look.ms : 0;
  if (quietMs >= QUIET_MS) return open(memory, look, 'alone');
  const own = look.ownRead + look.ownOnDisk;
  const best = seePeak(before.best, look.others, look.ms);
  const isProven = before.isProven || look.others > before.othersThen * GAIN;
  const forMs = before.forMs + look.ms;
  // While the disk still writes what we left in the cache nobody could have become faster.
  if (!isProven && forMs >= JUDGE_MS && own < before.ownThen * CUT) {
    return { ...open(memory, look, 'not in the way'), restMs: REST_MS };
  }
  const sinceStepMs = before.sinceStepMs + look.ms;
  const now = { ...before, best, isProven, forMs, quietMs, sinceStepMs };
  if (sinceStepMs < STEP_MS || quietMs > 0) return yieldWith(memory, now, look);
  const isFast = isProven && look.others >= highest(best) * KEPT;
  const step = (ceiling: number): number => {
    if (ceiling === 0) return 0;
    return isFast ? ceiling + before.ownThen * RAISE : cut(ceiling);
  };
  const stepped = { writing: step(now.writing), reading: step(now.reading), sinceStepMs: 0 };
  return yieldWith(memory, { ...now, ...stepped }, look);
}

function cut(rate: number): number {
  return Math.max(LEAST, rate * CUT);
}

function open(memory: DiskMemory, look: Look, cause: Cause): DiskMemory {
  const why = { cause, reason: causes[cause], others: Math.round(look.others), busy: look.busy };
  return { ...memory, yielding: undefined, decision: { writing: 0, reading: 0, ...why } };
}

function yieldWith(memory: DiskMemory, yielding: Yielding, look: Look): DiskMemory {
  const figures = `they move ${humanBytes(look.others)}/s, and it is busy ${Math.round(look.busy * 100)} % of the time`;
  const decision: DiskDecision = {
    writing: Math.round(yielding.writing),
    reading: Math.round(yielding.reading),
    cause: 'yielding',
    reason: `${causes.yielding}: ${figures}`,
    others: Math.round(look.others),
    busy: look.busy,
  };
  return { ...memory, yielding, decision };
}
