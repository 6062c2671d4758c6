import { CodedError } from '../../base/error.ts';
import type { Validators } from '../../piece/version.ts';
import { MAX_DEPTH, nameProblem, pathProblem, refusedEntry } from './folder-entry.ts';
import type { FolderEntry, FolderLimits } from './folder-entry.ts';

/** One line of the listing of one folder. */
export interface ListedChild {
  /** Decoded, and not to be trusted. */
  readonly name: string;
  readonly kind: 'file' | 'folder' | 'other';
  readonly location: string;
  readonly length?: number | undefined;
  readonly validators?: Validators | undefined;
  /** What is wrong with the line itself. */
  readonly problem?: string | undefined;
}

/** Lists single folders of one kind of origin. */
export interface FolderLister {
  list(location: string, options: { readonly signal: AbortSignal }): AsyncIterable<ListedChild>;
}

interface Folder {
  readonly location: string;
  /** Of its entries: `a/b/`, empty at the top. */
  readonly prefix: string;
  /** The top is 1. */
  readonly depth: number;
}

/**
 * All that is below a folder, one listing after the other, nearest first. Names are checked here, whoever listed them.
 * Throws ERR_LISTING at a bound, and what the lister throws.
 */
export async function* walkFolders(
  lister: FolderLister,
  top: string,
  options: { readonly limits: FolderLimits; readonly signal: AbortSignal },
): AsyncGenerator<FolderEntry> {
  const { limits, signal } = options;
  const waiting: Folder[] = [{ location: top, prefix: '', depth: 1 }];
  let entries = 0;
  // In place of shift(), which moves the rest each time.
  for (let next = 0; next < waiting.length; next += 1) {
    const folder = waiting[next];
    if (folder === undefined) return;
    for await (const child of lister.list(folder.location, { signal })) {
      signal.throwIfAborted();
      entries += 1;
      if (entries > limits.maxEntries) throw tooMuch(`more than ${limits.maxEntries} entries`);
      const entry = entryOf(child, folder, limits);
      if (entry.kind !== 'folder') {
        yield entry;
        continue;
      }
      if (waiting.length >= limits.maxFolders) {
        throw tooMuch(`more than ${limits.maxFolders} folders`);
      }
      waiting.push(entry.folder);
    }
  }
}

function entryOf(
  child: ListedChild,
  parent: Folder,
  limits: FolderLimits,
): FolderEntry | { readonly kind: 'folder'; readonly folder: Folder } {
  const path = `${parent.prefix}${child.name}`;
  const problem = child.problem ?? nameProblem(child.name) ?? pathProblem(path);
  if (problem !== undefined) return refusedEntry(path, problem);
  const { location, length, validators } = child;
  if (child.kind === 'file') return { kind: 'file', path, location, length, validators };
  if (child.kind === 'other') {
    return { kind: 'left-out', path, reason: 'neither a regular file nor a folder' };
  }
  const depth = parent.depth + 1;
  if (limits.maxDepth !== undefined && depth > limits.maxDepth) {
    return { kind: 'left-out', path: `${path}/`, reason: `deeper than ${limits.maxDepth} folders` };
  }
  if (depth > MAX_DEPTH) throw tooMuch(`folders deeper than ${MAX_DEPTH}`);
  return { kind: 'folder', folder: { location, prefix: `${path}/`, depth } };
}

/** A listing that goes past a bound. */
export function tooMuch(what: string): CodedError {
  return new CodedError('ERR_LISTING', `the listing has ${what}`);
}
