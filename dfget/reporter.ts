import type { CodedError } from '../core/base/error.ts';
import type { DownloadEvent } from '../core/swarm/download-events.ts';
import type { DoneEvent } from './output.ts';

/** What happens on the way. */
export type PassingEvent = Extract<DownloadEvent, { type: 'started' | 'progress' | 'stalled' }>;

/** Tells the user, or the script, how the download goes; ends with one `done` or `failed`. */
export interface Reporter {
  /** Something worth knowing that is no failure. */
  note(text: string): void;
  passing(event: PassingEvent): void;
  /** `seconds` is the whole time the caller waited, the output included. */
  done(event: DoneEvent, facts: { readonly seconds: number; readonly output: string }): void;
  /** `length` is -1 where it never became known. */
  failed(error: CodedError, facts: { readonly seconds: number; readonly length: number }): void;
}
