// Which way the processes of a call are kept together on this host: in a cgroup for each call where the host lets us make
// some, else by mark, parent and session alone. Found out once, by trial.
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { readdir, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError, systemCode } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { randomHex } from '../../core/base/random.ts';
import type { HostFacts } from '../../core/wire/messages.ts';
import { CallGroup } from './call-group.ts';
import { findCgroupPlace } from './cgroup-place.ts';
import type { CgroupPlace } from './cgroup-place.ts';
import { canEnter, prepareLimits, warnOfLimit } from './cgroup-trial.ts';
import { limitNames, namesOf } from './command-limits.ts';
import type { CommandLimits, LimitName } from './command-limits.ts';

const PREFIX = 'odonata-call';
const NAME = new RegExp(`^${PREFIX}-[0-9a-f]{12}-[0-9a-f]{32}$`);
/** An empty group of another dfdaemon is one that it has just made, or one that nobody comes for any more. */
const ABANDONED_MS = 60_000;

/** Where the groups of a dfdaemon are. */
interface Home {
  readonly base: string;
  /** Of their names: those of other dfdaemons begin otherwise. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Makes and takes away the groups of the calls of one dfdaemon. */
export class CallGroups {
  /** Limits that this host keeps. */
  readonly limits: ReadonlySet<LimitName>;
  readonly #home: Home | undefined;
  /** Paths of those that are in use. */
  readonly #live = new Set<string>();

  private constructor(home: Home | undefined, limits: Iterable<LimitName> = []) {
    this.#home = home;
    this.limits = new Set(limits);
  }

  /** As on a host where no cgroup can be made. */
  static none(): CallGroups {
    return new CallGroups(undefined);
  }

  /**
   * Tries what this host lets us do; `wanted` limits are prepared for where they can be, and the log says where not.
   * `dataDir` is that of the dfdaemon, which tells its groups from those of others.
   */
  static async open(options: {
    readonly dataDir: string;
    readonly wanted: ReadonlySet<LimitName>;
    readonly clock: Clock;
    readonly log: Log;
    readonly place?: CgroupPlace | undefined;
  }): Promise<CallGroups> {
    const { dataDir, wanted, clock, log, place = findCgroupPlace() } = options;
    const prefix = `${PREFIX}-${digestOf(await realpath(dataDir))}-`;
    if (place === undefined || !(await canEnter(join(place.base, prefix + randomHex(16))))) {
      for (const name of wanted) warnOfLimit(log, name, 'no cgroup v2 can be made');
      return CallGroups.none();
    }
    const limits = prepareLimits(place, { wanted, log });
    const groups = new CallGroups({ base: place.base, prefix, clock, log }, limits);
    await groups.tidy();
    return groups;
  }

  /** What the cell is told of it. */
  get facts(): HostFacts {
    const limits = limitNames.filter((name) => this.limits.has(name)).join('+');
    return {
      callGroups: this.#home === undefined ? 'none' : 'cgroup2',
      callLimits: limits === '' ? 'none' : limits,
    };
  }

  /** ERR_FORBIDDEN when this host cannot keep any of these limits: nothing runs without them. */
  check(limits: CommandLimits): void {
    const missing = namesOf(limits).filter((name) => !this.limits.has(name));
    if (missing.length === 0) return;
    const message = `this host cannot keep the limit of ${missing.join(', ')} (no cgroup v2 controller)`;
    throw new CodedError('ERR_FORBIDDEN', message);
  }

  /** Where the group of a call with that mark will be; undefined where there are none. */
  pathFor(marker: string): string | undefined {
    if (this.#home === undefined) return undefined;
    return join(this.#home.base, this.#home.prefix + marker);
  }

  /**
   * The group of a call that is about to begin, whose end `release()` is. Undefined where there are none, or this one
   * cannot be made and no limit needs it; ERR_COMMAND_START when one does.
   */
  async make(marker: string, limits: CommandLimits): Promise<CallGroup | undefined> {
    const path = this.pathFor(marker);
    if (path === undefined) return undefined;
    this.#live.add(path);
    try {
      return await CallGroup.make(path, limits);
    } catch (cause) {
      this.#live.delete(path);
      const reason = systemCode(cause) ?? 'unknown';
      this.#home?.log.warn({ path, reason }, 'a call runs without a cgroup');
      if (namesOf(limits).length === 0) return undefined;
      const message = `its limits cannot be set (${reason})`;
      throw new CodedError('ERR_COMMAND_START', message, { cause });
    }
  }

  /** Takes a group away, now or, while what the program has left behind lives in it, at a later `tidy()`. */
  async release(group: CallGroup): Promise<void> {
    await group.remove();
    this.#live.delete(group.path);
  }

  /** A group that an earlier run of this program wrote down; undefined when it is gone, or was never one of a call. */
  leftover(path: string | undefined, marker: string): CallGroup | undefined {
    if (path === undefined || !NAME.test(basename(path)) || !path.endsWith(`-${marker}`)) {
      return undefined;
    }
    return Number.isFinite(madeAt(join(path, 'cgroup.procs'))) ? new CallGroup(path) : undefined;
  }

  /** Takes away groups of ended calls in which nothing lives any more. */
  async tidy(): Promise<void> {
    if (this.#home === undefined) return;
    const { base, prefix, clock } = this.#home;
    const before = clock.now() - ABANDONED_MS;
    for (const name of await readdir(base).catch(() => [])) {
      const path = join(base, name);
      if (!NAME.test(name) || this.#live.has(path)) continue;
      if (name.startsWith(prefix) || madeAt(path) < before) await new CallGroup(path).remove();
    }
  }
}

function digestOf(path: string): string {
  return createHash('sha256').update(path).digest('hex').slice(0, 12);
}

/** Milliseconds since the epoch; never, for what is no group. */
function madeAt(path: string): number {
  try {
    return statSync(path).ctimeMs;
  } catch {
    return Infinity;
  }
}
