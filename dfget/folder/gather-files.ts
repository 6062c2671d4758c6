import { CodedError } from '../../core/base/error.ts';
import { defaultFolderLimits } from '../../core/origin/folder/folder-entry.ts';
import type { FolderFile, RefusedEntry } from '../../core/origin/folder/folder-entry.ts';
import type { OriginKind } from '../../core/origin/origin-kind.ts';
import { RECORD_NAME } from './folder-record.ts';
import type { PathFilter } from './globs.ts';
import type { FolderPlan } from './plan-folder.ts';

/** What is to be fetched of a folder. */
export interface GatheredFiles {
  readonly files: readonly FolderFile[];
  /** What the listing named and cannot be a file here. */
  readonly refused: readonly RefusedEntry[];
  /** Bytes of all files, where every listing told. */
  readonly length: number | undefined;
  readonly leftOut: number;
}

/**
 * Lists a folder to its end, before anything is fetched, and keeps what is wanted. Throws ERR_LISTING when more is
 * wanted than `maxFiles`: nobody meant that, or somebody else did.
 */
export async function gatherFiles(
  kind: OriginKind,
  url: string,
  options: { readonly plan: FolderPlan; readonly signal: AbortSignal },
): Promise<GatheredFiles> {
  const { plan, signal } = options;
  const isWanted = await wantedFiles(plan);
  const limits = { ...defaultFolderLimits, maxDepth: plan.maxDepth };
  const files = new Map<string, FolderFile>();
  const refused: RefusedEntry[] = [];
  let leftOut = 0;
  let length: number | undefined = 0;
  for await (const entry of kind.list(url, { limits, signal })) {
    if (entry.kind === 'left-out') {
      leftOut += 1;
      continue;
    }
    if (!isWanted(entry.path)) continue;
    if (files.size + refused.length >= plan.maxFiles) throw tooMany(plan.maxFiles);
    if (entry.kind === 'refused') refused.push(entry);
    else if (entry.path === RECORD_NAME || entry.path === `${RECORD_NAME}.new`) {
      refused.push({ kind: 'refused', path: entry.path, problem: 'a name that is used here' });
    } else if (!files.has(entry.path)) {
      files.set(entry.path, entry);
      length =
        length === undefined || entry.length === undefined ? undefined : length + entry.length;
    }
  }
  return { files: [...files.values()], refused, length, leftOut };
}

async function wantedFiles({ include, exclude }: FolderPlan): Promise<PathFilter> {
  if (include.length === 0 && exclude.length === 0) return () => true;
  const { globFilter } = await import('./globs.ts');
  const isIncluded = include.length === 0 ? () => true : globFilter(include, '--include-files');
  const isExcluded = globFilter(exclude, '--exclude-files');
  return (path) => isIncluded(path) && !isExcluded(path);
}

function tooMany(maxFiles: number): CodedError {
  const message = `more than ${maxFiles} files match; raise --max-files, or narrow --include-files`;
  return new CodedError('ERR_LISTING', message, { detail: { maxFiles } });
}
