// Where in the tree of cgroups this program may make groups of its own. A machine may have cgroup v2 alone, v2 beside v1
// (then often without a controller, and only good for keeping processes together), or v1 alone.
import { accessSync, constants, readFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';

/** Group that this program sits in below the one that it was given, so that the latter may have limits for groups. */
export const ownGroupName = 'dfdaemon';

/** What the kernel says about this process. */
export interface CgroupFacts {
  /** Text of /proc/self/mountinfo. */
  readonly mounts: string;
  /** Text of /proc/self/cgroup. */
  readonly groups: string;
}

export interface CgroupPlace {
  /** Absolute path of the group that this process is in. */
  readonly own: string;
  /** That below which groups are made: `own`, or what is above it. */
  readonly base: string;
}

/** Of this process; undefined where it may make no group of v2. */
export function findCgroupPlace(): CgroupPlace | undefined {
  const facts = readFacts();
  const own = facts === undefined ? undefined : ownCgroup(facts);
  if (own === undefined || !isWritable(own)) return undefined;
  const parent = dirname(own);
  const isBelow = basename(own) === ownGroupName && isWritable(parent);
  return { own, base: isBelow ? parent : own };
}

/** Absolute path of the cgroup v2 of this process; undefined when no mount shows it. */
export function ownCgroup({ mounts, groups }: CgroupFacts): string | undefined {
  // The unified hierarchy is number 0 and has no names: `0::/path`.
  const path = /^0::(\/.*)$/m.exec(groups)?.[1];
  // `..`: a group that is outside of the cgroup namespace of this process.
  if (path === undefined || path.split('/').includes('..')) return undefined;
  for (const line of mounts.split('\n')) {
    // `id parent major:minor root point options optional… - type source options`.
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root, point] = before.split(' ');
    if (!after.startsWith('cgroup2 ') || root === undefined || point === undefined) continue;
    const below = relative(unescaped(root), path);
    // Outside of what is mounted there, as it may be in a container.
    if (below === '..' || below.startsWith('../')) continue;
    return join(unescaped(point), below);
  }
  return undefined;
}

function readFacts(): CgroupFacts | undefined {
  try {
    return {
      mounts: readFileSync('/proc/self/mountinfo', 'utf8'),
      groups: readFileSync('/proc/self/cgroup', 'utf8'),
    };
  } catch {
    // No Linux, or no /proc.
    return undefined;
  }
}

function isWritable(group: string): boolean {
  try {
    accessSync(group, constants.W_OK);
    accessSync(join(group, 'cgroup.procs'), constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Blanks and the like are octal there: `\040`. */
function unescaped(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_all, digits: string) =>
    String.fromCodePoint(Number.parseInt(digits, 8)),
  );
}
