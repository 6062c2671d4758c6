import type { FolderEntry, FolderFile, FolderLimits } from './folder/folder-entry.ts';
import type { MeshSource } from './mesh-source.ts';

/** Where content is to be had: by the mesh, or from a file that only this user's program may open. */
export type Located = MeshSource | LocalFile;

/** A file of this machine. */
export interface LocalFile {
  readonly path: string;
}

/** A bound in time on one call. */
export interface KindCall {
  readonly signal: AbortSignal;
}

/** One kind of place that users name by a URL, asked with the rights of the user who runs the program. */
export interface OriginKind {
  /** Where the content at a URL is to be had. */
  locate(url: string, call: KindCall): Promise<Located>;
  /** All that is below a folder. Throws ERR_LISTING for what is no listing or is past a bound. */
  list(url: string, call: KindCall & { readonly limits: FolderLimits }): AsyncIterable<FolderEntry>;
  /** Where a file is to be had that `list` named. Asked right before it is fetched: signatures and tokens age. */
  locateFile(file: FolderFile, call: KindCall): Promise<Located>;
}

/** True for content that no other program may be asked for. */
export function isLocalFile(located: Located): located is LocalFile {
  return 'path' in located;
}
