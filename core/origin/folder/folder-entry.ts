import type { Validators } from '../../piece/version.ts';

/** Something that a listing named. */
export type FolderEntry = FolderFile | RefusedEntry | LeftOutEntry;

/** A file below a folder. */
export interface FolderFile {
  readonly kind: 'file';
  /** Names below the folder, parted by `/`; each of them passed `nameProblem`. */
  readonly path: string;
  /** Where it is, as its kind of origin writes that: a URL, a local path, a key, a digest. */
  readonly location: string;
  /** Bytes, where the listing says so. */
  readonly length?: number | undefined;
  /** What the listing tells one content from the next by. */
  readonly validators?: Validators | undefined;
}

/** An entry that cannot be a file below the folder: a fault of the listing that counts as a file that failed. */
export interface RefusedEntry {
  readonly kind: 'refused';
  /** As the listing named it; shortened, not safe to print. */
  readonly path: string;
  readonly problem: string;
}

/** An entry that nobody asked for: a link of a filesystem, a folder deeper than wanted. */
export interface LeftOutEntry {
  readonly kind: 'left-out';
  readonly path: string;
  readonly reason: string;
}

/** Bounds on what listings may make of us. */
export interface FolderLimits {
  /** Folders below the first are 2, 3…; deeper ones are left out. Absent: `MAX_DEPTH`, and deeper is ERR_LISTING. */
  readonly maxDepth?: number | undefined;
  /** Listings asked for. */
  readonly maxFolders: number;
  /** Entries of all listings together, whatever becomes of them. */
  readonly maxEntries: number;
  /** Bytes of one listing. */
  readonly maxListingBytes: number;
}

/** Nobody keeps files deeper; a server that names a folder inside itself does. */
export const MAX_DEPTH = 32;

export const defaultFolderLimits: FolderLimits = {
  maxFolders: 10_000,
  maxEntries: 1_000_000,
  maxListingBytes: 64 * 1024 * 1024,
};

const MAX_NAME_BYTES = 255;
const MAX_PATH_BYTES = 4_000;
const MAX_SHOWN = 200;

/** Why `name` cannot be that of a file or folder on every filesystem of ours; undefined when it can. */
export function nameProblem(name: string): string | undefined {
  if (name === '') return 'an empty name';
  if (name === '.' || name === '..') return `the name ${name}`;
  if (name.includes('/')) return 'a slash in the name';
  if (/\p{Cc}/u.test(name)) return 'a control character in the name';
  if (!name.isWellFormed()) return 'a name that is not Unicode';
  return Buffer.byteLength(name) > MAX_NAME_BYTES
    ? `a name longer than ${MAX_NAME_BYTES} bytes`
    : undefined;
}

/** Why `path` cannot be one below a folder; undefined when it can. */
export function pathProblem(path: string): string | undefined {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `a path longer than ${MAX_PATH_BYTES} bytes`;
  for (const name of path.split('/')) {
    const problem = nameProblem(name);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** An entry that is refused, with no more of its name than is needed to find it. */
export function refusedEntry(path: string, problem: string): RefusedEntry {
  const shown = path.length > MAX_SHOWN ? `${path.slice(0, MAX_SHOWN)}…` : path;
  return { kind: 'refused', path: shown, problem };
}
