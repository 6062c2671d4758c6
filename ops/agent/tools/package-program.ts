import type { Clock } from '../../../core/base/clock.ts';
import { CodedError } from '../../../core/base/error.ts';
import { CapturedOutput } from '../captured-output.ts';
import { resultOfRun } from '../call-result.ts';
import { inheritedFiles } from '../inherited-files.ts';
import { checkProgram, environmentOf } from '../launcher.ts';
import type { LocalUser } from '../local-user.ts';
import { markerVariable } from '../process-tree.ts';
import { runCommand } from '../run-command.ts';
import type { PackageManifest, ProgramArgv } from './package-manifest.ts';

/** What is shown of what a program of a package writes. */
const MAX_OUTPUT_BYTES = 16_384;

/** What work on a package needs of the process that does it. */
export interface PackageTools {
  readonly user: LocalUser;
  /** The mark of the call, which all that must end with it carries. */
  readonly marker: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** For whoever reads what became of the call. */
  readonly say: (text: string) => void;
}

/**
 * Runs a program of a package to its end, in the folder of its version. ERR_COMMAND_FAILED unless it ended well,
 * ERR_TIMEOUT, ERR_COMMAND_START; what it wrote is in the message.
 */
export async function runProgram(
  argv: ProgramArgv,
  about: {
    readonly manifest: PackageManifest;
    readonly folder: string;
    readonly timeoutMs: number;
  },
  { user, marker, clock, signal }: PackageTools,
): Promise<void> {
  const { manifest, folder, timeoutMs } = about;
  await checkProgram(argv[0]);
  const environment = { ...environmentOf(user), ...manifest.env, [markerVariable]: marker };
  const stdout = new CapturedOutput(MAX_OUTPUT_BYTES);
  const stderr = new CapturedOutput(MAX_OUTPUT_BYTES);
  const end = await runCommand(
    { argv, environment, cwd: folder, covered: inheritedFiles() },
    { marker, stdout, stderr, timeoutMs, graceMs: 1_000, signal, clock },
  );
  const { outcome, error } = resultOfRun(end, timeoutMs);
  if (outcome === 'ok' || error === undefined) return;
  const said = `${stdout.contents().toString()}${stderr.contents().toString()}`.trim();
  const text = said === '' ? '' : `\n${said}`;
  throw new CodedError(error.code, `${argv[0]}: ${error.message}${text}`, { cause: error });
}
