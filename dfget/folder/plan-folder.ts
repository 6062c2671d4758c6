import { CodedError } from '../../core/base/error.ts';
import type { DfgetOptions } from '../args.ts';

/** What of a folder is fetched, and how much at a time. */
export interface FolderPlan {
  /** None: all. */
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  readonly maxFiles: number;
  readonly maxDepth?: number | undefined;
  readonly concurrency: number;
}

/** The plan of `--recursive`; undefined without it. Throws ERR_USAGE naming a flag that does not fit. */
export function planFolder(options: DfgetOptions): FolderPlan | undefined {
  const { recursive, includeFiles, excludeFiles, maxFiles, maxDepth, concurrency } = options;
  if (!recursive) {
    const alone = [
      ['--include-files', includeFiles.length > 0],
      ['--exclude-files', excludeFiles.length > 0],
      ['--max-depth', maxDepth !== undefined],
    ] as const;
    const wrong = alone.find(([, isGiven]) => isGiven);
    if (wrong !== undefined) throw usage(`${wrong[0]}: only goes with --recursive`);
    return undefined;
  }
  if (options.output === '-') throw usage('-O -: a folder cannot go to standard output');
  if (options.range !== undefined) throw usage('--range: does not go with --recursive');
  if (options.digest !== undefined || options.md5 !== undefined) {
    throw usage('--digest: is of one file, and does not go with --recursive');
  }
  return { include: includeFiles, exclude: excludeFiles, maxFiles, maxDepth, concurrency };
}

function usage(message: string): CodedError {
  return new CodedError('ERR_USAGE', message);
}
