import { CodedError } from '../../base/error.ts';
import { openOrigin } from '../origin.ts';
import { pathProblem, refusedEntry } from '../folder/folder-entry.ts';
import type { FolderEntry, FolderLimits } from '../folder/folder-entry.ts';
import type { ListingParts } from '../folder/http-folder.ts';
import { localName, notAListing, readMarkup } from '../folder/markup.ts';
import type { MarkupHandler } from '../folder/markup.ts';
import { tooMuch } from '../folder/walk-folders.ts';
import type { S3Objects } from './s3-objects.ts';

/** Text of one element that is kept; a key has 1,024 bytes at most. */
const MAX_TEXT = 16_384;

/**
 * All objects whose key begins with `prefix` (empty, or with a slash at its end), page by page. Keys that end in a
 * slash are what tools put for folders, and no files. Throws ERR_LISTING at a bound, ERR_NOT_FOUND where there is nothing.
 */
export async function* listObjects(
  objects: S3Objects,
  options: {
    readonly prefix: string;
    readonly parts: ListingParts;
    readonly limits: FolderLimits;
    readonly signal: AbortSignal;
  },
): AsyncGenerator<FolderEntry> {
  const { prefix, parts, limits, signal } = options;
  let token: string | undefined;
  let entries = 0;
  for (let pages = 1; ; pages += 1) {
    if (pages > limits.maxFolders) throw tooMuch(`more than ${limits.maxFolders} pages`);
    const url = objects.listingUrl(prefix, token);
    const reader = new PageReader();
    using page = await openOrigin({ url, headers: objects.headers }, { ...parts, signal });
    const bounds = { language: 'xml', maxBytes: limits.maxListingBytes } as const;
    for await (const _ of readMarkup(page.body, reader, bounds)) {
      for (const object of reader.found.splice(0)) {
        entries += 1;
        if (entries > limits.maxEntries) throw tooMuch(`more than ${limits.maxEntries} entries`);
        const entry = entryOf(object, { prefix, limits });
        if (entry !== undefined) yield entry;
      }
    }
    const shown = new URL(url);
    if (!reader.isWhole) throw notAListing(shown, 'sent no whole list of objects');
    if (!reader.isTruncated) break;
    if (reader.next === '' || reader.next === token) {
      throw notAListing(shown, 'does not say how its list of objects goes on');
    }
    token = reader.next;
  }
  // S3 has no folders: one that is not there and one that is empty look the same, and a typo would seem to be done.
  if (entries === 0 && prefix !== '') {
    throw new CodedError('ERR_NOT_FOUND', `s3: no key begins with ${JSON.stringify(prefix)}`);
  }
}

interface ListedObject {
  key: string;
  length?: number;
  etag?: string;
  lastModified?: string;
}

function entryOf(
  { key, length, etag, lastModified }: ListedObject,
  { prefix, limits }: { readonly prefix: string; readonly limits: FolderLimits },
): FolderEntry | undefined {
  if (!key.startsWith(prefix)) return refusedEntry(key, 'a key that was not asked for');
  const path = key.slice(prefix.length);
  if (path === '' || path.endsWith('/')) return undefined;
  const problem = pathProblem(path);
  if (problem !== undefined) return refusedEntry(path, problem);
  if (limits.maxDepth !== undefined && path.split('/').length > limits.maxDepth) {
    return { kind: 'left-out', path, reason: `deeper than ${limits.maxDepth} folders` };
  }
  return { kind: 'file', path, location: key, length, validators: { etag, lastModified } };
}

/** Follows one page of ListObjectsV2. */
class PageReader implements MarkupHandler {
  readonly found: ListedObject[] = [];
  isWhole = false;
  isTruncated = false;
  next = '';
  #object: ListedObject | undefined;
  #text = '';

  open(name: string): void {
    this.#text = '';
    if (localName(name) === 'Contents') this.#object = { key: '' };
  }

  text(text: string): void {
    if (this.#text.length < MAX_TEXT) this.#text += text;
  }

  close(name: string, isImplied: boolean): void {
    if (isImplied) return;
    const text = this.#text;
    this.#text = '';
    const object = this.#object;
    switch (localName(name)) {
      case 'Contents':
        if (object !== undefined) this.found.push(object);
        this.#object = undefined;
        break;
      case 'Key':
        if (object !== undefined) object.key = text;
        break;
      case 'Size':
        if (object !== undefined && /^\d{1,15}$/.test(text)) object.length = Number(text);
        break;
      case 'ETag':
        if (object !== undefined && text !== '') object.etag = text;
        break;
      case 'LastModified':
        if (object !== undefined && text !== '') object.lastModified = text;
        break;
      case 'IsTruncated':
        this.isTruncated = text.trim() === 'true';
        break;
      case 'NextContinuationToken':
        this.next = text;
        break;
      case 'ListBucketResult':
        this.isWhole = true;
    }
  }
}
