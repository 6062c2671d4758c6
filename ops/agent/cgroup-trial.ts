import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { systemCode } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { CallGroup } from './call-group.ts';
import { ownGroupName } from './cgroup-place.ts';
import type { CgroupPlace } from './cgroup-place.ts';
import type { LimitName } from './command-limits.ts';
import { argvInGroup } from './launcher.ts';

const run = promisify(execFile);

const controllers: Readonly<Record<LimitName, string>> = {
  cpu: 'cpu',
  memory: 'memory',
  processes: 'pids',
};

/** Makes that group, lets a program begin in it, and takes it away: true when all of this can be done. */
export async function canEnter(path: string): Promise<boolean> {
  let group: CallGroup;
  try {
    group = await CallGroup.make(path, {});
  } catch {
    return false;
  }
  try {
    const [sh, ...args] = argvInGroup(['/bin/cat', '/proc/self/cgroup'], group);
    const { stdout } = await run(sh, args, { env: {}, cwd: '/' });
    return new RegExp(`^0::/.*${basename(path)}$`, 'm').test(stdout);
  } catch {
    return false;
  } finally {
    await group.remove();
  }
}

/** Lets groups below `base` have these limits; those for which that worked. Why not for others is in the log. */
export function prepareLimits(
  { own, base }: CgroupPlace,
  { wanted, log }: { readonly wanted: ReadonlySet<LimitName>; readonly log: Log },
): LimitName[] {
  const has = wordsOf(join(base, 'cgroup.controllers'));
  const kept: LimitName[] = [];
  for (const name of wanted) {
    const controller = controllers[name];
    const why = has.has(controller)
      ? whyNotPassedOn(controller, { own, base })
      : `the cgroup ${base} has no controller ${controller}`;
    if (why === undefined) kept.push(name);
    else warnOfLimit(log, name, why);
  }
  return kept;
}

/** Says why commands that name this limit are refused. */
export function warnOfLimit(log: Log, limit: LimitName, reason: string): void {
  log.warn(
    { limit, reason },
    'this host cannot keep a limit: calls of commands with it are refused',
  );
}

/** Undefined when groups below `base` have that controller. */
function whyNotPassedOn(controller: string, { own, base }: CgroupPlace): string | undefined {
  const file = join(base, 'cgroup.subtree_control');
  if (wordsOf(file).has(controller)) return undefined;
  const pass = (): string | undefined => problemOf(() => writeFileSync(file, `+${controller}`));
  const problem = pass();
  if (problem !== 'EBUSY' || own !== base) return problem;
  // No group but the root has both processes and controllers for the groups below it.
  if (base.endsWith('.service')) {
    // systemd could not start this program anew while anything is left in a group that it passes controllers on to.
    return `the unit needs DelegateSubgroup=${ownGroupName} (systemd 254 or newer)`;
  }
  const below = join(base, ownGroupName);
  const moved = problemOf(() => {
    mkdirSync(below, { recursive: true });
    writeFileSync(join(below, 'cgroup.procs'), String(process.pid));
  });
  const still = moved ?? pass();
  if (still === undefined) return undefined;
  problemOf(() => {
    writeFileSync(join(base, 'cgroup.procs'), String(process.pid));
    rmdirSync(below);
  });
  return still === 'EBUSY' ? `other processes are in the cgroup ${base}` : still;
}

function problemOf(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return systemCode(error) ?? 'unknown';
  }
}

function wordsOf(file: string): Set<string> {
  try {
    return new Set(readFileSync(file, 'utf8').trim().split(' '));
  } catch {
    return new Set();
  }
}
