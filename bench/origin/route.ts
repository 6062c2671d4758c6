import type { Content } from './content.ts';

/** Applies to the first `times` requests it could apply to; absent: to all. */
interface Limited {
  readonly times?: number;
}

/** How one path behaves; everything is optional and may be combined. */
export interface Route {
  /** Absent: an empty body. */
  readonly content?: Content;
  /** False: Range is ignored and no Accept-Ranges is sent. Default true. */
  readonly ranges?: boolean;
  /** `chunked` and `close` (body ends with the connection) announce no length. Default `length`. */
  readonly framing?: 'length' | 'chunked' | 'close';
  /** Default `strong` (ETag and Last-Modified). */
  readonly validators?: 'strong' | 'weak' | 'last-modified' | 'none';
  /** HTTP date; default a fixed one long ago. */
  readonly lastModified?: string;
  readonly redirect?: { readonly to: string; readonly status?: number };
  /** Sends the gzip form of the content whatever the client accepts. */
  readonly contentEncoding?: 'gzip';
  /** The Authorization value to ask for: 401 without any, 403 with another. */
  readonly authorization?: string;
  /** The queries (`sig=1`) that are let in, as a signed URL would be: 403 with another or none. */
  readonly queries?: readonly string[];
  /** Answers with a status instead of content. */
  readonly fail?: Limited & { readonly status: number; readonly retryAfter?: string };
  /** Never completes the head of an answer. */
  readonly hang?: Limited & { readonly where: 'before-head' | 'inside-head' };
  /** Waits this long before the head. */
  readonly slowHeadMs?: number;
  /** Ends the connection after this many body bytes of an answer; `reset` sends RST. */
  readonly cut?: Limited & { readonly afterBytes: number; readonly reset?: boolean };
  /** Sends nothing more after this many body bytes of an answer. */
  readonly stall?: Limited & { readonly afterBytes: number };
  /** Waits after this many body bytes of each answer, until then. */
  readonly hold?: { readonly afterBytes: number; readonly until: Promise<void> };
  /** Body rate of each answer, bytes per second. */
  readonly bytesPerSecond?: number;
  /** The path has other content as soon as this many bytes of an answer were sent; that answer goes on with the old. */
  readonly become?: {
    readonly content: Content;
    readonly afterBytes: number;
    readonly lastModified?: string;
  };
  /** Answers a Range with something else than was asked. */
  readonly wrongRange?: Limited & {
    readonly kind: 'other-start' | 'longer' | 'capped' | 'multipart' | 'unnamed' | 'wrong-total';
  };
  /** Added to the announced Content-Length. */
  readonly wrongLength?: number;
  /** Further headers of a successful answer. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** What was asked of a path, or of all, since the origin started. */
export interface PathStats {
  requests: number;
  heads: number;
  /** Body bytes given to the network. */
  bodyBytes: number;
  /** Connections on which a request came. */
  connections: number;
  rangeRequests: number;
  /** Requests with If-None-Match or If-Modified-Since. */
  conditionalRequests: number;
  /** Answers by status. */
  statuses: Record<string, number>;
}

/** One request as it came, newest last. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** Statistics of nothing yet. */
export function emptyStats(): PathStats {
  return {
    requests: 0,
    heads: 0,
    bodyBytes: 0,
    connections: 0,
    rangeRequests: 0,
    conditionalRequests: 0,
    statuses: {},
  };
}
