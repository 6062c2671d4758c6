import type { ErrorObject } from '../base/error.ts';
import type { Priority } from '../base/priority.ts';

/** What a user asks for: the body of `POST /v1/downloads` and the argument of the engine in process. */
export interface DownloadRequest {
  readonly url: string;
  /** Headers for the origin; credentials in them are never stored or logged. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly tag?: string;
  readonly application?: string;
  readonly filteredQueryParams?: readonly string[];
  /** `ALGO:HEX` of the whole output: md5, sha1, sha256, sha512 or crc32. */
  readonly digest?: string;
  /** Half-open byte range of the content. */
  readonly range?: { readonly start: number; readonly end?: number };
  /** False forbids this host to fetch from the origin itself; default true. */
  readonly backToSource?: boolean;
  /** `source` skips the mesh altogether; default `p2p`. */
  readonly pattern?: 'p2p' | 'source';
  /** Payload bytes per second for this download; 0 or absent: no limit of its own. */
  readonly limitRate?: number;
  /** Which downloads go first where they compete for a link; default normal. */
  readonly priority?: Priority;
  /** Fails with ERR_TIMEOUT after this time. */
  readonly timeoutMs?: number;
  /** True adds `explain` to the `done` event. */
  readonly explain?: boolean;
}

/** Where payload bytes came from so far. */
export interface ByteSources {
  readonly fromPeers: number;
  readonly fromSeed: number;
  readonly fromOrigin: number;
  /** Verified on this host's disk before this download began. */
  readonly fromCache: number;
}

/** One sender of bytes, for `--explain`. */
export interface SourceReport {
  /** Peer id, or `origin`. */
  readonly source: string;
  readonly role: 'peer' | 'seed' | 'origin';
  readonly address?: string;
  readonly pieces: number;
  readonly bytes: number;
  /** What of them did not have to travel, as it came compressed; absent: none. */
  readonly savedBytes?: number;
  /** Pieces it sent whose digest was wrong. */
  readonly wrongPieces: number;
  readonly failures: number;
}

/** What a download waited for, for how long. */
export interface WaitReport {
  readonly reason: string;
  readonly ms: number;
}

/** The answer to "why did it take so long, and who sent what". */
export interface Explanation {
  readonly sources: readonly SourceReport[];
  readonly waits: readonly WaitReport[];
  readonly notes: readonly string[];
}

/** What is reported of a download, in order: started, then progress and stalled, then done or failed. */
export type DownloadEvent =
  | {
      readonly type: 'started';
      readonly task: string;
      readonly url: string;
      readonly length?: number;
    }
  | ({
      readonly type: 'progress';
      /** Verified bytes, those from cache included. */
      readonly received: number;
      readonly length?: number;
      readonly bytesPerSecond: number;
    } & ByteSources)
  | { readonly type: 'stalled'; readonly reason: string; readonly ms: number }
  | ({
      readonly type: 'done';
      readonly task: string;
      readonly version: string;
      readonly length: number;
      /** `sha256:HEX` of the content, when it was computed by the cell or on request. */
      readonly digest?: string;
      readonly seconds: number;
      /** Bytes fetched more than once. */
      readonly duplicate: number;
      /** The verified content in the data folder of the engine (absent for inline content). */
      readonly path?: string;
      /** Base64 of content small enough to travel inside replies (at most 128 KiB). */
      readonly content?: string;
      readonly explain?: Explanation;
    } & ByteSources)
  | ({ readonly type: 'failed' } & ErrorObject);

/** Anything that downloads: the engine in this process, or a dfdaemon behind its socket. */
export interface Downloader extends AsyncDisposable {
  /** Ends after `done` or `failed`; aborting the signal ends it with `failed` ERR_INTERRUPTED. */
  download(
    request: DownloadRequest,
    options: { signal: AbortSignal },
  ): AsyncIterable<DownloadEvent>;
  /** The verified bytes of a finished download, in order. */
  content(
    done: { readonly task: string; readonly version: string },
    options: { signal: AbortSignal },
  ): AsyncIterable<Uint8Array>;
}
