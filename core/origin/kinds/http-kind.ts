import type { FolderEntry, FolderFile, FolderLimits } from '../folder/folder-entry.ts';
import { HttpFolder, folderUrl } from '../folder/http-folder.ts';
import type { ListingParts } from '../folder/http-folder.ts';
import { walkFolders } from '../folder/walk-folders.ts';
import type { MeshSource } from '../mesh-source.ts';
import type { KindCall, OriginKind } from '../origin-kind.ts';

/** `http` and `https`: what the mesh is asked for as it is, and folders by WebDAV or index pages. */
export class HttpKind implements OriginKind {
  readonly #headers: Readonly<Record<string, string>>;
  readonly #parts: ListingParts;

  constructor(headers: Readonly<Record<string, string>>, parts: ListingParts) {
    this.#headers = headers;
    this.#parts = parts;
  }

  async locate(url: string): Promise<MeshSource> {
    return { url, headers: this.#headers };
  }

  list(
    url: string,
    { limits, signal }: KindCall & { readonly limits: FolderLimits },
  ): AsyncIterable<FolderEntry> {
    const options = { headers: this.#headers, maxBytes: limits.maxListingBytes };
    const folder = new HttpFolder(this.#parts, options);
    return walkFolders(folder, folderUrl(url).href, { limits, signal });
  }

  async locateFile({ location }: FolderFile): Promise<MeshSource> {
    return this.locate(location);
  }
}
