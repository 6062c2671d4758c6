import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../../core/base/error.ts';
import { runCommand } from '../cluster/command.ts';
import type { Workplace } from '../cluster/workplace.ts';

/** What skopeo keeps outside of the folder it is given, and takes with it. */
const PRIVATE = 'mount -t tmpfs none /run && mount -t tmpfs none /var/lib && exec "$@"';
const UNSHARE = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', PRIVATE, 'private'];

/** Seconds of a whole `skopeo copy` of `reference` to the plain folder `folder/image`; throws with what it said. */
export async function pullBySkopeo(
  reference: string,
  options: {
    readonly workplace: Workplace;
    readonly folder: string;
    /** What the command line begins with to run where it shall. */
    readonly enter: readonly string[];
    readonly signal: AbortSignal;
  },
): Promise<number> {
  const { workplace, folder, enter, signal } = options;
  const image = join(folder, 'image');
  await rm(image, { recursive: true, force: true });
  const words = ['skopeo', '--insecure-policy', 'copy', '--quiet', '--src-tls-verify=false'];
  const argv = [...enter, ...UNSHARE, ...words, `docker://${reference}`, `dir:${image}`];
  const env = { ...workplace.env, TMPDIR: folder };
  const { guard } = workplace;
  const { exitCode, stderr, seconds } = await runCommand(argv, { guard, env, signal });
  if (exitCode === 0) return seconds;
  throw new CodedError('ERR_INTERNAL', `skopeo of ${reference}: ${stderr}`);
}
