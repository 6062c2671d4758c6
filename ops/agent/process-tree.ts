// Finds and ends everything that one call has started. A process cannot leave its tree unseen by a new session or a
// double fork: it carries a random mark in its environment, and whoever wiped that is still found by its parent or its
// session. Who does all three (clears the environment, leaves the session, and outlives its parent before anybody
// looked) is found where the call has a cgroup; elsewhere the user as whom it runs bounds what it can do then.
import { readFileSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import type { Clock } from '../../core/base/clock.ts';
import type { CallGroup } from './call-group.ts';

/** In the environment of everything that a call starts. */
export const markerVariable = 'ODONATA_CALL';
/** In that of everything which a package has left running: no call ends it, only the switch to another version. */
export const serviceVariable = 'ODONATA_SERVICE';

/** /proc is read for so many processes at a time. */
const TOGETHER = 64;
/** Between two looks at who is left. */
const POLL_MS = 20;
/** Looks after SIGKILL before we say that something is left (10 s): a process in the kernel dies when that lets it. */
const MAX_LOOKS = 500;
/** A process may be born between the list of processes and the look at its parent, so one look does not do. */
const EMPTY_LOOKS = 2;

/** A process at one moment; the time it started (ticks after boot) tells it from a later one with its number. */
export interface ProcessEntry {
  readonly pid: number;
  readonly state: string;
  readonly parent: number;
  readonly session: number;
  readonly started: number;
}

/** All processes of one call, or of one service. */
export class ProcessTree {
  readonly #mark: Buffer;
  readonly #notBefore: number;
  readonly #group: CallGroup | undefined;
  /** Found at an earlier look: members for good, whatever they do with their environment. */
  #known = new Map<number, number>();

  /** `root`: the first of them, when it is known; `variable`: where they carry the mark; `group`: where they began. */
  constructor(
    marker: string,
    options: {
      readonly root?: Pick<ProcessEntry, 'pid' | 'started'> | undefined;
      readonly variable?: typeof markerVariable | typeof serviceVariable;
      readonly group?: CallGroup | undefined;
    } = {},
  ) {
    const { root, variable = markerVariable, group } = options;
    this.#group = group;
    this.#mark = Buffer.from(`${variable}=${marker}\0`);
    this.#notBefore = root?.started ?? 0;
    if (root !== undefined) this.#known.set(root.pid, root.started);
  }

  /** Those that live now. */
  async members(): Promise<ProcessEntry[]> {
    const inGroup = (await this.#group?.pids()) ?? new Set<number>();
    const alive = (await allProcesses()).filter(
      ({ pid, state, started }) =>
        started >= this.#notBefore && !'ZX'.includes(state) && pid !== process.pid && pid !== 1,
    );
    const found = new Set(
      await inBatches(alive, async (entry) =>
        inGroup.has(entry.pid) ? entry : this.#isSurely(entry),
      ),
    );
    // Children and sessions of members are members. No member is in a session of others: the first began one.
    for (let size = -1; size !== found.size;) {
      size = found.size;
      const pids = new Set([...found].map(({ pid }) => pid));
      const sessions = new Set([...found].map(({ session }) => session));
      for (const entry of alive) {
        if (pids.has(entry.parent) || sessions.has(entry.session)) found.add(entry);
      }
    }
    this.#known = new Map([...found].map(({ pid, started }) => [pid, started]));
    return [...found];
  }

  /** Asks all to end (SIGTERM), kills after `graceMs` who has not, until none is left; how many cannot be killed. */
  async kill(options: { readonly clock: Clock; readonly graceMs: number }): Promise<number> {
    const { clock, graceMs } = options;
    const killFrom = clock.monotonic() + graceMs;
    const asked = new Set<number>();
    let looks = 0;
    let left = 0;
    for (let empty = 0; empty < EMPTY_LOOKS && looks < MAX_LOOKS;) {
      const isLate = clock.monotonic() >= killFrom;
      if (isLate) {
        looks += 1;
        await this.#group?.kill();
      }
      const members = await this.members();
      left = members.length;
      // What forks faster than we read /proc, or is in another pid namespace.
      if (left === 0 && (await this.#group?.isPopulated()) === true) left = 1;
      empty = left === 0 ? empty + 1 : 0;
      for (const { pid } of members) {
        if (isLate) signal(pid, 'SIGKILL');
        else if (!asked.has(pid)) signal(pid, 'SIGTERM');
        asked.add(pid);
      }
      if (left > 0) await clock.sleep(POLL_MS);
    }
    return left;
  }

  async #isSurely(entry: ProcessEntry): Promise<ProcessEntry | undefined> {
    if (this.#known.get(entry.pid) === entry.started) return entry;
    try {
      const environment = await readFile(`/proc/${entry.pid}/environ`);
      const at = environment.indexOf(this.#mark);
      return at === 0 || (at > 0 && environment[at - 1] === 0) ? entry : undefined;
    } catch {
      // Gone, or of another user than one whom this program may look at, so none of its own.
      return undefined;
    }
  }
}

/** A child that was just started; at once, so that its number cannot be that of another yet. */
export function startedProcess(pid: number): ProcessEntry | undefined {
  try {
    return parseStat(pid, readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return undefined;
  }
}

async function findProcess(pid: number): Promise<ProcessEntry | undefined> {
  try {
    return parseStat(pid, await readFile(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return undefined;
  }
}

async function allProcesses(): Promise<ProcessEntry[]> {
  const names = await readdir('/proc');
  const pids = names.filter((name) => /^\d+$/.test(name)).map(Number);
  return inBatches(pids, findProcess);
}

async function inBatches<In, Out>(
  items: readonly In[],
  work: (item: In) => Promise<Out | undefined>,
): Promise<Out[]> {
  const done: Out[] = [];
  for (let at = 0; at < items.length; at += TOGETHER) {
    const results = await Promise.all(items.slice(at, at + TOGETHER).map(work));
    for (const result of results) if (result !== undefined) done.push(result);
  }
  return done;
}

/** `pid (name) state parent group session … started`; the name may hold anything, so fields count from the last `)`. */
function parseStat(pid: number, text: string): ProcessEntry | undefined {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, parent, , session] = fields;
  const started = fields[19];
  if (state === undefined || started === undefined) return undefined;
  return {
    pid,
    state,
    parent: Number(parent),
    session: Number(session),
    started: Number(started),
  };
}

function signal(pid: number, name: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended since.
  }
}
