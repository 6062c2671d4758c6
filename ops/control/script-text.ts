import { CodedError } from '../../core/base/error.ts';
import { scriptLimits } from '../../core/base/script-limits.ts';
import type { CallRequest } from './call-record.ts';
import type { Uploads } from './uploads.ts';

/**
 * What policies look at of a call: its arguments, and of a script also what it says. A script must have been uploaded, so
 * that nobody has hosts run what was not looked at. ERR_NOT_FOUND, ERR_REQUEST for one that is too long.
 */
export async function argumentsToJudge(
  { command, args = [] }: CallRequest,
  uploads: Pick<Uploads, 'read'>,
): Promise<readonly string[]> {
  if (command !== 'script.run') return args;
  const [, digest = ''] = args;
  const script = await uploads.read(digest, scriptLimits.bytes);
  if (script !== undefined) return [...args, script.toString()];
  throw new CodedError('ERR_NOT_FOUND', 'there is no script of this digest here: upload it first');
}
