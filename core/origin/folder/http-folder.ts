import type { Clock } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import type { Log } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { HttpResponse } from '../../net/http-client.ts';
import type { OriginConnections } from '../origin-connections.ts';
import { openOrigin, waitToRetry } from '../origin.ts';
import type { OriginOptions } from '../origin.ts';
import { firstHop } from '../request-headers.ts';
import { readHtmlIndex } from './html-index.ts';
import { notAListing } from './markup.ts';
import type { FolderLister, ListedChild } from './walk-folders.ts';
import { PROPFIND_BODY, davFailure, readMultistatus } from './web-dav.ts';

/** What listings are fetched with. */
export interface ListingParts {
  readonly connections: OriginConnections;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Whoever waits for a listing wants to know soon that there is none. */
const LIMITS = { maxAttempts: 4, retryTotalMs: 60_000 };

/**
 * Folders of a web server: by WebDAV where it answers PROPFIND, else by the links of its index pages. Which of them is
 * found out once, at the first folder. A folder has to be at the address it was asked for, on the same origin: what
 * the user's headers may be credentials for is not decided by a redirect.
 */
export class HttpFolder implements FolderLister {
  readonly #parts: ListingParts;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #maxBytes: number;
  #isDav: boolean | undefined;

  constructor(
    parts: ListingParts,
    options: { readonly headers: Readonly<Record<string, string>>; readonly maxBytes: number },
  ) {
    this.#parts = parts;
    this.#headers = options.headers;
    this.#maxBytes = options.maxBytes;
  }

  async *list(location: string, { signal }: { signal: AbortSignal }): AsyncGenerator<ListedChild> {
    const folder = folderUrl(location);
    const options = { maxBytes: this.#maxBytes };
    if (this.#isDav !== false) {
      const answer = await this.#propfind(folder, signal);
      this.#isDav ??= answer !== undefined;
      if (answer !== undefined) {
        yield* closing(answer, readMultistatus(answer.body, folder, options));
        return;
      }
    }
    using page = await openOrigin(
      { url: folder.href, headers: { accept: 'text/html', ...this.#headers } },
      this.#options(signal),
    );
    const { contentType = '', contentEncoding, url } = page.head;
    requireSamePlace(folder, url);
    if (!/^(?:text\/html|application\/xhtml\+xml)\b/i.test(contentType)) {
      throw notAListing(folder, 'is no folder: it answers with a file, not with a page of links');
    }
    if (contentEncoding !== undefined) throw notAListing(folder, 'sent a listing that is packed');
    yield* readHtmlIndex(page.body, folder, options);
  }

  /** A WebDAV listing, unread; undefined from a server that has none. */
  async #propfind(folder: URL, signal: AbortSignal): Promise<HttpResponse | undefined> {
    const { clock, connections } = this.#parts;
    const { url, headers } = firstHop({ url: folder.href, headers: this.#headers });
    const startMs = clock.monotonic();
    for (let failures = 1; ; failures += 1) {
      try {
        const response = await connections.request({
          url,
          method: 'PROPFIND',
          headers: { ...headers, depth: '1', 'content-type': 'application/xml' },
          body: PROPFIND_BODY,
          signal,
        });
        if (response.status === 207) return response;
        response.discard();
        if (this.#isDav !== true) return undefined;
        throw davFailure(folder, response.status);
      } catch (error) {
        const state = { failures, elapsedMs: clock.monotonic() - startMs };
        await waitToRetry(CodedError.from(error), state, this.#options(signal));
      }
    }
  }

  #options(signal: AbortSignal): OriginOptions {
    return { ...this.#parts, signal, limits: LIMITS };
  }
}

/** The address of a folder: with a slash at its end, without query and fragment. */
export function folderUrl(location: string): URL {
  const url = new URL(location);
  url.search = '';
  url.hash = '';
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}

function requireSamePlace(asked: URL, got: string): void {
  if (got === asked.href) return;
  const why = 'redirects elsewhere: ask for that address itself, if it is trusted';
  throw notAListing(asked, why);
}

async function* closing(
  answer: HttpResponse,
  children: AsyncGenerator<ListedChild>,
): AsyncGenerator<ListedChild> {
  try {
    yield* children;
  } finally {
    answer.close();
  }
}
