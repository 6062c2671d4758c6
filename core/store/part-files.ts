/**
 * The temporary names that outputs are made under: `.odonata-<space>-<pid>-<random>.part`. A process that was killed
 * leaves its file behind, and only the name can tell: `<space>` stands for the boot and the PID namespace in which
 * `<pid>` is a process, so that whoever is in the same one knows for certain whether the maker still runs.
 */
import { opendir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { SystemClock } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { systemCode } from '../base/error.ts';
import { randomName } from '../base/random.ts';

/** Of another machine or container nothing is known but how long its file has not been touched. */
const FOREIGN_STALE_MS = 24 * 3_600_000;
/** A folder with more in it than this is not looked through to its end: an output must not take longer for it. */
const MAX_ENTRIES = 4_096;

// Not imported: as a module it loads the streams of files, 3 ms of every start.
const { readFileSync, readlinkSync } = process.getBuiltinModule('node:fs');

let ownSpace: string | undefined;

/** A name in `folder` that nobody else uses. */
export function newPartPath(folder: string): string {
  return join(folder, `.odonata-${processSpace()}-${process.pid}-${randomName()}.part`);
}

/** Removes from `folder` what processes that are gone left there; what cannot be removed stays. */
export async function removeLeftParts(
  folder: string,
  clock: Clock = new SystemClock(),
): Promise<void> {
  const space = processSpace();
  try {
    let entries = 0;
    for await (const { name } of await opendir(folder)) {
      const path = join(folder, name);
      if (await isLeft({ name, path, space }, clock)) await rm(path, { force: true });
      entries += 1;
      if (entries >= MAX_ENTRIES) return;
    }
  } catch {
    // A folder that may be written and not listed, or another's file in a sticky one: no reason to give up an output.
  }
}

async function isLeft(
  part: { readonly name: string; readonly path: string; readonly space: string },
  clock: Clock,
): Promise<boolean> {
  const [, space, pid] = /^\.odonata-(\w+)-(\d+)-[0-9a-f]+\.part$/.exec(part.name) ?? [];
  if (space === undefined) return false;
  if (space === part.space) return !isRunning(Number(pid));
  // By the time of the name, not of the bytes: it may be a hard link to content that is old.
  const { ctimeMs } = await stat(part.path);
  return clock.now() - ctimeMs > FOREIGN_STALE_MS;
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return systemCode(error) !== 'ESRCH';
  }
}

function processSpace(): string {
  return (ownSpace ??= findSpace());
}

function findSpace(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8');
    const namespace = readlinkSync('/proc/self/ns/pid');
    return `${boot.slice(0, 8)}_${namespace.replaceAll(/\D/g, '')}`;
  } catch {
    // Not Linux: nobody can be told from a process of another machine, and time decides.
    return randomName();
  }
}
