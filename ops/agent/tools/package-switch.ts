// Puts another version of a package in the place of the one that runs, or the former one back. What is being done stands
// on the disk before it is done: a switch that was killed at any point is taken up by the next one, which knows the last
// version that was well.
import { CodedError } from '../../../core/base/error.ts';
import { whyUnhealthy } from './health.ts';
import { versionOf } from './package-folder.ts';
import type { PackageFolder } from './package-folder.ts';
import { readManifest } from './package-manifest.ts';
import { runProgram } from './package-program.ts';
import type { PackageTools } from './package-program.ts';
import { isAlive, startService, stopService, tailOfLog } from './service.ts';
import type { SwitchRequest } from './tool-requests.ts';

/** What `package.switch` prints. */
export interface SwitchResult {
  readonly name: string;
  readonly current: string | null;
  /** What ran, and was well, before. */
  readonly former: string | null;
}

/** How a switch ended; its numbers are exit codes that callers rely on. */
export const switchExits = {
  /** The version runs and is healthy. */
  done: 0,
  /** It failed, and the former version runs and is healthy. */
  restored: 3,
  /** It failed, and there is no healthy former version. */
  down: 4,
} as const;

/** Longest look whether what runs already is what is wanted. */
const STANDING_MS = 5_000;

interface Switching {
  readonly folder: PackageFolder;
  readonly name: string;
  readonly healthTimeoutMs: number;
  readonly tools: PackageTools;
}

/**
 * Lets `version` run, or nothing. Does nothing when it runs and is healthy. ERR_NOT_FOUND when it is not installed: then
 * nothing was touched.
 */
export async function switchPackage(
  folder: PackageFolder,
  { name, version, healthTimeoutMs }: SwitchRequest,
  tools: PackageTools,
): Promise<SwitchResult & { readonly exit: number }> {
  const switching = { folder, name, healthTimeoutMs, tools };
  const to = await directoryFor(folder, version);
  const current = await folder.current();
  const from = await folder.standing();
  const result = (now: string | undefined): SwitchResult => ({
    name,
    current: now === undefined ? null : versionOf(now),
    former: from === undefined ? null : versionOf(from),
  });
  if (current === to && (await stands(to, switching))) {
    await folder.setEndedSwitch(from === to ? undefined : from);
    return { ...result(to), exit: switchExits.done };
  }
  await folder.setBegunSwitch({ from, to });
  if (await isBrought(to, switching)) {
    await folder.setEndedSwitch(from === to ? undefined : from);
    return { ...result(to), exit: switchExits.done };
  }
  const hasFormer = from !== undefined && from !== to;
  const isRestored = hasFormer && (await isBrought(from, switching));
  if (from === undefined) await takeAway(switching);
  await folder.setEndedSwitch();
  return { ...result(from), exit: isRestored ? switchExits.restored : switchExits.down };
}

/** The newest of what is installed of a version; undefined: none is wanted. */
async function directoryFor(
  folder: PackageFolder,
  version: string | undefined,
): Promise<string | undefined> {
  if (version === undefined) return undefined;
  const found = (await folder.versions()).find((installed) => installed.version === version);
  if (found !== undefined) return found.directory;
  throw new CodedError('ERR_NOT_FOUND', `version ${version} is not installed on this host`);
}

/** True when that version runs and is well, without anything being done. */
async function stands(directory: string | undefined, switching: Switching): Promise<boolean> {
  const { folder, healthTimeoutMs } = switching;
  const service = await folder.service();
  if (directory === undefined) return service === undefined;
  if (service !== undefined && (service.directory !== directory || !isAlive(service))) return false;
  const timeoutMs = Math.min(STANDING_MS, healthTimeoutMs);
  try {
    return (await problemOf(directory, { ...switching, healthTimeoutMs: timeoutMs })) === undefined;
  } catch {
    // What cannot be asked is started anew.
    switching.tools.signal.throwIfAborted();
    return false;
  }
}

/** Ends what runs and lets that version run instead; false, after saying why, when it is not found healthy. */
async function isBrought(directory: string | undefined, switching: Switching): Promise<boolean> {
  const { folder, name, tools } = switching;
  try {
    await stopService(folder, tools);
    await folder.setCurrent(directory);
    if (directory === undefined) return true;
    const manifest = await readManifest(folder.pathOf(directory));
    await startService(folder, directory, { manifest, tools });
    const problem = await problemOf(directory, switching);
    if (problem === undefined) return true;
    tools.say(`${name} ${versionOf(directory)}: ${problem}`);
  } catch (error) {
    tools.signal.throwIfAborted();
    tools.say(`${name}: ${CodedError.from(error).message}`);
  }
  const tail = await tailOfLog(folder, name);
  if (tail !== '') tools.say(tail);
  return false;
}

async function takeAway({ folder, name, tools }: Switching): Promise<void> {
  try {
    await stopService(folder, tools);
    await folder.setCurrent(undefined);
  } catch (error) {
    tools.signal.throwIfAborted();
    tools.say(`${name}: ${CodedError.from(error).message}`);
  }
}

/** Why a version that was started is not well; undefined when it is. */
async function problemOf(directory: string, switching: Switching): Promise<string | undefined> {
  const { folder, healthTimeoutMs, tools } = switching;
  const path = folder.pathOf(directory);
  const manifest = await readManifest(path);
  const service = await folder.service();
  if (manifest.start !== undefined && service === undefined) return 'it does not run';
  return whyUnhealthy({
    health: manifest.health,
    isAlive: service === undefined ? undefined : () => isAlive(service),
    runCheck: async (argv, timeoutMs) =>
      runProgram(argv, { manifest, folder: path, timeoutMs }, tools),
    timeoutMs: healthTimeoutMs,
    clock: tools.clock,
    signal: tools.signal,
  });
}
