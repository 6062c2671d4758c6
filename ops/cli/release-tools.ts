import { CodedError } from '../../core/base/error.ts';
import type { CommandTools } from './preheat-command.ts';

/** What the commands of releases need besides. */
export interface ReleaseTools extends CommandTools {
  /** Asks whoever sits at the terminal; undefined: nobody does. */
  readonly confirm: ((question: string) => Promise<boolean>) | undefined;
}

/** Resolves when somebody says yes; ERR_USAGE when nobody is here, ERR_INTERRUPTED when he does not. */
export async function confirmed({ confirm }: ReleaseTools): Promise<void> {
  if (confirm === undefined) {
    throw new CodedError('ERR_USAGE', 'nobody is here to be asked: start it with --yes');
  }
  if (await confirm('Start it? [y/N] ')) return;
  throw new CodedError('ERR_INTERRUPTED', 'nothing was started');
}
