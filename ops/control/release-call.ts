import type { CallRequest } from './call-record.ts';
import type { ReleaseRecord } from './release-record.ts';

/** What is asked of a host for a release. */
export type ReleaseCommand = 'package.install' | 'package.switch';

/** Of releases of former versions, which did not say it, ms. */
const GIVE_UP_MS = 300_000;
/** To stop what runs, and to go back should the new version not run well, beside the two health checks. */
const SWITCH_MS = 60_000;

/** How a command of a release is called: how long it may take, and how long it waits for a host. */
export function callOf(
  { healthTimeoutMs, installTimeoutMs, giveUpMs = GIVE_UP_MS }: ReleaseRecord,
  command: ReleaseCommand,
): Pick<CallRequest, 'command' | 'lane' | 'timeoutMs' | 'waitMs'> {
  const isInstall = command === 'package.install';
  return {
    command,
    // What takes long must not keep a host from going back.
    lane: isInstall ? 'slow' : 'fast',
    timeoutMs: isInstall ? installTimeoutMs : 2 * healthTimeoutMs + SWITCH_MS,
    waitMs: giveUpMs,
  };
}

/** What `package.switch` is given to let a version run; null: nothing is to run. */
export function switchArguments(
  { application, healthTimeoutMs }: ReleaseRecord,
  version: string | null,
): string[] {
  return [application, version ?? 'none', String(healthTimeoutMs)];
}
