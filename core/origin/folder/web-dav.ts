import { CodedError } from '../../base/error.ts';
import { childAt } from './html-index.ts';
import { localName, notAListing, readMarkup } from './markup.ts';
import type { MarkupHandler } from './markup.ts';
import type { ListedChild } from './walk-folders.ts';

/** Asks for what tells files from folders and one version from the next (RFC 4918). */
export const PROPFIND_BODY =
  '<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop>' +
  '<resourcetype/><getcontentlength/><getetag/><getlastmodified/></prop></propfind>';

/** Text of one element that is kept; longer ones are nothing we look for. */
const MAX_TEXT = 16_384;

interface Properties {
  isFolder?: boolean;
  length?: number;
  etag?: string;
  lastModified?: string;
}

/** The children of a folder that a WebDAV server names. Throws ERR_LISTING for what is no whole answer. */
export async function* readMultistatus(
  body: AsyncIterable<Uint8Array>,
  folder: URL,
  options: { readonly maxBytes: number },
): AsyncGenerator<ListedChild> {
  const reader = new MultistatusReader(folder);
  for await (const _ of readMarkup(body, reader, { language: 'xml', ...options })) {
    yield* reader.found.splice(0);
  }
  if (!reader.isWhole) throw notAListing(folder, 'sent a WebDAV listing that is not whole');
}

/** Follows the elements of a multistatus; what it does not know is passed over. */
class MultistatusReader implements MarkupHandler {
  readonly found: ListedChild[] = [];
  isWhole = false;
  readonly #folder: URL;
  #href = '';
  /** Of the `propstat` being read, in force only if its status is 200. */
  #offered: Properties = {};
  #isOffered = true;
  #properties: Properties = {};
  #text = '';

  constructor(folder: URL) {
    this.#folder = folder;
  }

  open(name: string): void {
    this.#text = '';
    switch (localName(name)) {
      case 'response':
        this.#href = '';
        this.#properties = {};
        break;
      case 'propstat':
        this.#offered = {};
        this.#isOffered = true;
        break;
      case 'collection':
        this.#offered.isFolder = true;
    }
  }

  text(text: string): void {
    if (this.#text.length < MAX_TEXT) this.#text += text;
  }

  close(name: string, isImplied: boolean): void {
    if (isImplied) return;
    const text = this.#text.trim();
    switch (localName(name)) {
      case 'href':
        // Properties may hold addresses too; the first is that of the response.
        if (this.#href === '') this.#href = text;
        break;
      case 'getcontentlength':
        if (/^\d{1,15}$/.test(text)) this.#offered.length = Number(text);
        break;
      case 'getetag':
        if (text !== '') this.#offered.etag = text;
        break;
      case 'getlastmodified':
        if (text !== '') this.#offered.lastModified = text;
        break;
      case 'status':
        this.#isOffered = /^HTTP\/\S+ 200\b/i.test(text);
        break;
      case 'propstat':
        if (this.#isOffered) Object.assign(this.#properties, this.#offered);
        break;
      case 'response':
        this.#finish();
        break;
      case 'multistatus':
        this.isWhole = true;
    }
    this.#text = '';
  }

  #finish(): void {
    const url = URL.parse(this.#href, this.#folder.href);
    if (url === null) return;
    const { isFolder = false, length, etag, lastModified } = this.#properties;
    // A name that ends in a slash or not: servers differ, and the property decides.
    if (isFolder && !url.pathname.endsWith('/')) url.pathname += '/';
    const child = childAt(url, this.#folder);
    if (child === undefined) return;
    const kind = isFolder ? 'folder' : 'file';
    const validators = { etag, lastModified };
    this.found.push({ ...child, kind, length, validators });
  }
}

/** The failure that a status of an answer to PROPFIND means, for a server that is known to speak WebDAV. */
export function davFailure(url: URL, status: number): CodedError {
  const code = status >= 400 && status < 500 ? 'ERR_ORIGIN_REFUSED' : 'ERR_ORIGIN_FAILING';
  const { message } = notAListing(url, `answered ${status} to PROPFIND`);
  return new CodedError(code, message, { detail: { status } });
}
