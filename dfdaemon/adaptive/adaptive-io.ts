/**
 * Adaptive control: looks at what other programs of this machine do with its line and its disk, and lets this host take
 * what they leave. Four looks a second while something is moved here, none while nothing is. What cannot be seen on this
 * machine is said once, and does without.
 */
import type { Clock, Timer } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { RateLimits } from '../../core/swarm/host-limits.ts';
import { deviceOf, readDisk } from './disk-counters.ts';
import type { DeviceNumber, DiskCounts } from './disk-counters.ts';
import { ownInterfaces, readLine } from './line-counters.ts';
import type { LineCounts } from './line-counters.ts';
import { freshDisk, lookAtDisk } from './yield-disk.ts';
import type { DiskDecision } from './yield-disk.ts';
import { freshLine, lookAtLine, restOfLine } from './yield-line.ts';
import type { LineDecision } from './yield-line.ts';

/** Payload that this host has moved itself, bytes. */
export interface OwnCounts {
  /** From other hosts, from origins, to other hosts. */
  readonly download: number;
  readonly origin: number;
  readonly upload: number;
}

/** What it looks at, and what it acts on. */
export interface AdaptiveParts {
  /** Cheap: grows whenever anything is moved, maybe a moment before. */
  readonly activity: () => number;
  readonly own: () => Promise<OwnCounts>;
  readonly line: () => Promise<LineCounts>;
  /** Undefined where content is not on a disk that can be watched. */
  readonly disk: () => Promise<DiskCounts | undefined>;
  /** Most that may be moved, 0 for no ceiling; in force at once. */
  readonly apply: (ceilings: RateLimits) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** The decisions that hold, and what is not seen. */
export interface AdaptiveReport {
  readonly isOn: boolean;
  /** What comes in, what goes out, and the disk; absent while it is off. */
  readonly receive?: LineDecision;
  readonly send?: LineDecision;
  readonly disk?: DiskDecision;
  /** What cannot be watched on this machine, and why. */
  readonly blind: readonly string[];
}

const LOOK_MS = 250;
/** Looks that come later than this do not belong to what was seen before. */
const LATE_MS = 1_500;
/** Nothing was moved for so long: no more looks. */
const REST_MS = 5_000;
/** Of a ceiling for what comes in, the least that either way of coming in may have. */
const LEAST_WAY = 0.1;

const NONE: RateLimits = { download: 0, upload: 0, origin: 0 };

interface Counts {
  readonly atMs: number;
  readonly own: OwnCounts;
  readonly line: LineCounts | undefined;
  readonly disk: DiskCounts | undefined;
}

export class AdaptiveIo implements Disposable {
  readonly #parts: AdaptiveParts;
  readonly #blind = new Map<'line' | 'disk', string>();
  #timer: Timer | undefined;
  #last: Counts | undefined;
  #receive = freshLine;
  #send = freshLine;
  #disk = freshDisk;
  #ceilings = NONE;
  /** Part of what comes in that comes from origins. */
  #originPart = 0.5;
  #activity = 0;
  #activeMs = -Infinity;
  #isLooking = false;

  constructor(parts: AdaptiveParts) {
    this.#parts = parts;
    this.#activity = parts.activity();
    this.#timer = parts.clock.every(LOOK_MS, () => void this.look());
  }

  get report(): AdaptiveReport {
    const blind = [...this.#blind.values()];
    const { decision: disk } = this.#disk;
    return { isOn: true, receive: this.#receive.decision, send: this.#send.decision, disk, blind };
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#apply(NONE);
  }

  /** One look, and what follows from it; the timer does it. Never rejects. */
  async look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      if (this.#isActive()) await this.#lookNow();
      else if (this.#last !== undefined) this.#rest();
    } catch (error) {
      const { code, message } = CodedError.from(error);
      this.#parts.log.debug({ code, message }, 'no look at the traffic of this machine');
      this.#rest();
    } finally {
      this.#isLooking = false;
    }
  }

  #isActive(): boolean {
    const { activity, clock } = this.#parts;
    const now = activity();
    const nowMs = clock.monotonic();
    if (now !== this.#activity) this.#activeMs = nowMs;
    this.#activity = now;
    return nowMs - this.#activeMs < REST_MS;
  }

  #rest(): void {
    this.#last = undefined;
    this.#receive = restOfLine(this.#receive);
    this.#send = restOfLine(this.#send);
    this.#disk = freshDisk;
    this.#apply(NONE);
  }

  async #lookNow(): Promise<void> {
    const { own, line, disk, clock } = this.#parts;
    const onDisk = await this.#watched('disk', disk);
    const ours = await own();
    // Last, and the time at once: only so is what comes of them the rate of the line, and not of this thread's lateness.
    const onLine = await this.#watched('line', line);
    if (this.#timer === undefined) return;
    const now = { atMs: clock.monotonic(), own: ours, line: onLine, disk: onDisk };
    const last = this.#last;
    this.#last = now;
    if (last === undefined) return;
    if (now.atMs - last.atMs > LATE_MS) {
      this.#rest();
      this.#last = now;
      return;
    }
    this.#follow(last, now);
    this.#apply(this.#decided());
  }

  /** What a way of looking finds; a way that fails is said once, and not tried again. */
  async #watched<T>(name: 'line' | 'disk', read: () => Promise<T>): Promise<T | undefined> {
    if (this.#blind.has(name)) return undefined;
    try {
      const found = await read();
      if (found !== undefined) return found;
      this.#blind.set(name, `${name}: content is not on a disk that the kernel counts for`);
    } catch (error) {
      this.#blind.set(name, `${name}: ${CodedError.from(error).message}`);
    }
    this.#parts.log.info({ reason: this.#blind.get(name) }, 'not watched');
    return undefined;
  }

  #follow(last: Counts, now: Counts): void {
    const ms = now.atMs - last.atMs;
    const download = grown(last.own.download, now.own.download);
    const origin = grown(last.own.origin, now.own.origin);
    const upload = grown(last.own.upload, now.own.upload);
    if (download + origin > 0) {
      this.#originPart = (this.#originPart + origin / (download + origin)) / 2;
    }
    if (last.line !== undefined && now.line !== undefined) {
      const received = grown(last.line.received, now.line.received);
      const sent = grown(last.line.sent, now.line.sent);
      this.#receive = lookAtLine(this.#receive, { ms, total: received, own: download + origin });
      this.#send = lookAtLine(this.#send, { ms, total: sent, own: upload });
    }
    if (last.disk !== undefined && now.disk !== undefined) {
      this.#disk = lookAtDisk(this.#disk, diskSample({ ms, last: last.disk, now: now.disk }));
    }
  }

  #decided(): RateLimits {
    const disk = this.#disk.decision;
    const receive = lower(this.#receive.decision.ceiling, disk.writing);
    const part = Math.min(1 - LEAST_WAY, Math.max(LEAST_WAY, this.#originPart));
    return {
      download: share(receive, 1 - part),
      origin: share(receive, part),
      upload: lower(this.#send.decision.ceiling, disk.reading),
    };
  }

  #apply(ceilings: RateLimits): void {
    const before = this.#ceilings;
    this.#ceilings = ceilings;
    if (isYielding(before) !== isYielding(ceilings)) {
      const { receive, send, disk } = this.report;
      const reasons = { receive: receive?.reason, send: send?.reason, disk: disk?.reason };
      const happens = isYielding(ceilings) ? 'yields' : 'no longer yields';
      this.#parts.log.debug({ ...ceilings, ...reasons }, `${happens} to other programs`);
    }
    this.#parts.apply(ceilings);
  }
}

/** Looks at the machine itself: its network interfaces, and the disk that `folder` is on. */
export function watchMachine(folder: string): Pick<AdaptiveParts, 'line' | 'disk'> {
  let interfaces: readonly string[] = [];
  let device: DeviceNumber | undefined;
  return {
    line: async () => {
      if (interfaces.length === 0) interfaces = await ownInterfaces();
      return readLine(interfaces);
    },
    disk: async () => {
      device ??= await deviceOf(folder);
      return readDisk(device);
    },
  };
}

function diskSample(of: {
  readonly ms: number;
  readonly last: DiskCounts;
  readonly now: DiskCounts;
}): Parameters<typeof lookAtDisk>[1] {
  const { ms, last, now } = of;
  const isTold = last.stalledMs !== undefined && now.stalledMs !== undefined;
  return {
    ms,
    read: grown(last.read, now.read),
    written: grown(last.written, now.written),
    ownRead: grown(last.ownRead, now.ownRead),
    ownWritten: grown(last.ownWritten, now.ownWritten),
    busyMs: grown(last.busyMs, now.busyMs),
    stalledMs: isTold ? grown(last.stalledMs ?? 0, now.stalledMs ?? 0) : undefined,
  };
}

/** Counters begin anew when an interface or a worker thread is replaced. */
function grown(last: number, now: number): number {
  return Math.max(0, now - last);
}

function lower(a: number, b: number): number {
  return a === 0 || b === 0 ? Math.max(a, b) : Math.min(a, b);
}

/** Never 0, which would be no ceiling. */
function share(ceiling: number, part: number): number {
  return ceiling === 0 ? 0 : Math.max(1, Math.round(ceiling * part));
}

function isYielding({ download, upload }: RateLimits): boolean {
  return download > 0 || upload > 0;
}
