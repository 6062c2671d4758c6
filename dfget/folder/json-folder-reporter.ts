import { exitCodeOf } from '../exit-code.ts';
import type {
  FileResult,
  FolderProgress,
  FolderReporter,
  FolderSummary,
  Listed,
} from './folder-reporter.ts';

/** One JSON object a line: `listed`, `progress`, `stalled`, one of each file, and `summary` at the end. */
export class JsonFolderReporter implements FolderReporter {
  readonly #write: (text: string) => void;

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  note(): void {
    // A script that asked for JSON gets JSON alone.
  }

  listed(listed: Listed): void {
    this.#line({ type: 'listed', ...listed });
  }

  progress(progress: FolderProgress): void {
    this.#line({ type: 'progress', ...progress });
  }

  stalled(file: string, event: { readonly reason: string; readonly ms: number }): void {
    this.#line({ type: 'stalled', file, reason: event.reason, ms: event.ms });
  }

  file(result: FileResult): void {
    if (result.type !== 'failed') return this.#line(result);
    const { type, file, error } = result;
    this.#line({ type, file, ...error.toObject() });
  }

  finished({ firstError, ...summary }: FolderSummary): void {
    const seconds = Math.round(summary.seconds * 1000) / 1000;
    const exitCode = firstError === undefined ? 0 : exitCodeOf(firstError);
    const why = firstError === undefined ? {} : { firstError: firstError.toObject() };
    this.#line({ type: 'summary', ...summary, seconds, exitCode, ...why });
  }

  #line(value: object): void {
    this.#write(`${JSON.stringify(value)}\n`);
  }
}
