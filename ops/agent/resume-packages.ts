import { access } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { randomHex } from '../../core/base/random.ts';
import { resultOfRun } from './call-result.ts';
import { CapturedOutput } from './captured-output.ts';
import type { PackageToResume } from './host-tools.ts';
import type { Launcher } from './launcher.ts';
import { runCommand } from './run-command.ts';

const TIMEOUT_MS = 120_000;
const GRACE_MS = 5_000;
const MAX_OUTPUT_BYTES = 16_384;

/**
 * Starts what ran of the packages of this host and does not any more, as after a restart of the machine: one after the
 * other, each as its user. What cannot be started is in the log, and holds nothing else up.
 */
export async function resumePackages(
  packages: readonly PackageToResume[],
  parts: {
    readonly launcher: Launcher;
    readonly clock: Clock;
    readonly log: Log;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { launcher, clock, log, signal } = parts;
  for (const { name, folder, argv } of packages) {
    if (signal.aborted) return;
    try {
      // Without it nothing was ever installed.
      await access(join(folder, 'state'));
    } catch {
      continue;
    }
    try {
      const marker = randomHex(16);
      const stdout = new CapturedOutput(MAX_OUTPUT_BYTES);
      const stderr = new CapturedOutput(MAX_OUTPUT_BYTES);
      const launch = await launcher.launch(argv, { user: launcher.self, marker });
      const bounds = { timeoutMs: TIMEOUT_MS, graceMs: GRACE_MS };
      const end = await runCommand(launch, { marker, stdout, stderr, ...bounds, signal, clock });
      const { error } = resultOfRun(end, TIMEOUT_MS);
      const said = stdout.contents().toString().trim();
      const why = stderr.contents().toString().trim();
      if (error !== undefined) {
        log.error({ package: name, code: error.code, reason: why }, 'a package is not started');
      } else if (said !== '') log.info({ package: name, version: said }, 'package started again');
    } catch (error) {
      if (signal.aborted) return;
      const { code, message: reason } = CodedError.from(error);
      log.error({ package: name, code, reason }, 'a package is not started');
    }
  }
}
