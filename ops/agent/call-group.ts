import { mkdirSync } from 'node:fs';
import { access, readFile, readdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../../core/base/error.ts';
import type { CommandLimits, LimitName } from './command-limits.ts';

/** Groups below one that are looked through: only a program of root can make any. */
const MAX_GROUPS = 1_000;
/** The time, µs, in which a share of a core counts: the kernel's own. */
const CPU_PERIOD_US = 100_000;

/** A cgroup (v2) with all processes of one call: nothing they do takes them out of it, but root and its owner can. */
export class CallGroup {
  /** Absolute. */
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Made, with these limits in force; errors of the system when it cannot be, and then it is not there. */
  static async make(path: string, limits: CommandLimits): Promise<CallGroup> {
    // Nothing is put off for what takes the kernel microseconds.
    mkdirSync(path);
    const group = new CallGroup(path);
    try {
      // A folder that is no cgroup takes files of any name.
      await access(group.entry);
      await group.#limit(limits);
    } catch (error) {
      await group.remove();
      throw error;
    }
    return group;
  }

  /** Where a process writes 0 to come into it. */
  get entry(): string {
    return join(this.path, 'cgroup.procs');
  }

  /** Processes in it and below it, as far as this process can see them. */
  async pids(): Promise<Set<number>> {
    const lists = (await this.#tree()).map((path) => readOr(join(path, 'cgroup.procs'), ''));
    const texts = (await Promise.all(lists)).flatMap((text) => text.split('\n'));
    // 0 is one of another pid namespace.
    return new Set(texts.map(Number).filter((pid) => pid > 0));
  }

  /** True while any process is in it or below it, dead ones that nobody has waited for aside. */
  async isPopulated(): Promise<boolean> {
    return /^populated 1$/m.test(await readOr(join(this.path, 'cgroup.events'), ''));
  }

  /**
   * Kills all that is in it, forks and other users included, at once. Before Linux 5.14 it is only held still: nothing
   * is born in it any more, and each process is still to be killed.
   */
  async kill(): Promise<void> {
    if (!(await canWrite(join(this.path, 'cgroup.kill'), '1'))) await this.freeze();
  }

  /** Holds all that is in it still, where the kernel can (5.2); what is killed ends all the same. */
  async freeze(): Promise<void> {
    await canWrite(join(this.path, 'cgroup.freeze'), '1');
  }

  /** The limit that any of its processes was killed for. */
  async exceeded(): Promise<LimitName | undefined> {
    const events = await readOr(join(this.path, 'memory.events'), '');
    return /^oom_kill [1-9]/m.test(events) ? 'memory' : undefined;
  }

  /** Takes it away with what is below it; false when something lives in it. */
  async remove(): Promise<boolean> {
    for (const path of (await this.#tree()).toReversed()) {
      try {
        await rmdir(path);
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') return false;
      }
    }
    return true;
  }

  async #limit({ memory, processes, cpu }: CommandLimits): Promise<void> {
    const set = async (name: string, value: number | string): Promise<void> =>
      writeFile(join(this.path, name), String(value), { flag: 'r+' });
    if (processes !== undefined) await set('pids.max', processes);
    if (cpu !== undefined) {
      await set('cpu.max', `${Math.round(cpu * CPU_PERIOD_US)} ${CPU_PERIOD_US}`);
    }
    if (memory === undefined) return;
    await set('memory.max', memory);
    // One that loses a part of itself does not go on as if nothing were.
    await set('memory.oom.group', 1);
    const swap = 'memory.swap.max';
    if (await isThere(join(this.path, swap))) await set(swap, 0);
  }

  /** It and the groups below it, each after the one it is in. */
  async #tree(): Promise<string[]> {
    const found = [this.path];
    for (const path of found) {
      if (found.length >= MAX_GROUPS) break;
      const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
      for (const entry of entries) if (entry.isDirectory()) found.push(join(path, entry.name));
    }
    return found;
  }
}

async function readOr(path: string, otherwise: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    // The group is gone.
    return otherwise;
  }
}

async function canWrite(path: string, text: string): Promise<boolean> {
  try {
    // Never made anew: what the kernel does not have must not be there.
    await writeFile(path, text, { flag: 'r+' });
    return true;
  } catch {
    return false;
  }
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
