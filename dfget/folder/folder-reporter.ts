import type { CodedError } from '../../core/base/error.ts';
import type { ByteSources } from '../../core/swarm/download-events.ts';

/** How one file ended. */
export type FileResult =
  | ({
      readonly type: 'done';
      readonly file: string;
      readonly length: number;
      readonly version: string;
    } & ByteSources)
  | { readonly type: 'unchanged'; readonly file: string; readonly length: number }
  | { readonly type: 'failed'; readonly file: string; readonly error: CodedError };

/** What the listings came to. */
export interface Listed {
  /** Files to be fetched. */
  readonly files: number;
  /** Of them all together, where every listing told. */
  readonly length?: number | undefined;
  /** Entries that are neither files nor folders, or lie too deep. */
  readonly leftOut: number;
}

/** How far a folder is. */
export interface FolderProgress extends ByteSources {
  readonly files: number;
  readonly finished: number;
  readonly received: number;
  readonly length?: number | undefined;
  readonly bytesPerSecond: number;
}

/** How it all ended. */
export interface FolderSummary extends ByteSources {
  readonly files: number;
  readonly done: number;
  readonly unchanged: number;
  readonly failed: number;
  /** Bytes of the files that were put in place. */
  readonly length: number;
  readonly seconds: number;
  /** What the exit code is made of. */
  readonly firstError: CodedError | undefined;
  readonly output: string;
}

/** Tells the user, or the script, how a folder goes: `listed`, results of files in between, then `finished`. */
export interface FolderReporter {
  note(text: string): void;
  listed(listed: Listed): void;
  progress(progress: FolderProgress): void;
  stalled(file: string, event: { readonly reason: string; readonly ms: number }): void;
  file(result: FileResult): void;
  finished(summary: FolderSummary): void;
}
