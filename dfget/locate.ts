import type { Clock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/error.ts';
import { isLocalFile } from '../core/origin/origin-kind.ts';
import type { Located } from '../core/origin/origin-kind.ts';
import type { DownloadRequest, Downloader } from '../core/swarm/download-events.ts';
import type { OriginWishes } from './origin-kinds.ts';

/** What to download, and by whom. */
export interface LocatedRequest {
  readonly request: DownloadRequest;
  /** Set for what neither dfdaemon nor anybody else may be asked for. */
  readonly local?: Downloader;
}

/** Finds out what the mesh is asked for where a user names something else than an http(s) URL. */
export type Locate = (
  request: DownloadRequest,
  options: { readonly signal: AbortSignal },
) => Promise<LocatedRequest>;

/** A `Locate` for the user's own wishes. */
export function locator(
  wishes: OriginWishes,
  tools: { readonly clock: Clock; readonly note: (text: string) => void },
): Locate {
  return async (request, options) => {
    // The ordinary case loads nothing.
    if (/^https?:/i.test(request.url)) return { request };
    const { openOriginKind } = await import('./origin-kinds.ts');
    await using opened = await openOriginKind(request, wishes, tools);
    const located = await opened.kind.locate(request.url, options);
    return requestFor(located, request, tools.clock);
  };
}

/** `request` for content that was located; throws ERR_USAGE where a wish does not fit it. */
export async function requestFor(
  located: Located,
  request: DownloadRequest,
  clock: Clock,
): Promise<LocatedRequest> {
  if (isLocalFile(located)) {
    const { LocalFileDownloader } = await import('./local-file.ts');
    return { request, local: new LocalFileDownloader(located.path, clock) };
  }
  const { url, headers = {}, filteredQueryParams = [], digest } = located;
  const filtered = [...(request.filteredQueryParams ?? []), ...filteredQueryParams];
  const { headers: _headers, ...rest } = request;
  return {
    request: {
      ...rest,
      url,
      ...(Object.keys(headers).length === 0 ? {} : { headers }),
      ...(filtered.length === 0 ? {} : { filteredQueryParams: filtered }),
      ...(digest === undefined ? {} : { digest: namedDigest(digest, request) }),
    },
  };
}

function namedDigest(digest: string, request: DownloadRequest): string {
  if (request.range !== undefined) {
    throw new CodedError('ERR_USAGE', '--range: content that its digest names comes whole');
  }
  if (request.digest === undefined || request.digest === digest) return digest;
  throw new CodedError('ERR_USAGE', `--digest: the content is named by ${digest} already`);
}
