import type { Clock } from '../../core/base/clock.ts';
import type { CodedError } from '../../core/base/error.ts';
import type { ByteSources } from '../../core/swarm/download-events.ts';
import type { PassingEvent } from '../reporter.ts';
import type { FileResult, FolderReporter, FolderSummary } from './folder-reporter.ts';

/** Progress of the whole is told at most this often. */
const PROGRESS_MS = 200;

type Moving = { received: number; bytesPerSecond: number } & ByteSources;

const NOTHING: ByteSources = { fromPeers: 0, fromSeed: 0, fromOrigin: 0, fromCache: 0 };

/** Adds up what happens to the files of a folder, and passes it on. */
export class FolderTally {
  readonly #reporter: FolderReporter;
  readonly #clock: Clock;
  readonly #total: { readonly files: number; readonly length?: number | undefined };
  readonly #moving = new Map<string, Moving>();
  readonly #counts = { done: 0, unchanged: 0, failed: 0 };
  #finishedBytes = 0;
  #placedBytes = 0;
  #sources = NOTHING;
  #firstError: CodedError | undefined;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(
    total: { readonly files: number; readonly length?: number | undefined },
    tools: { readonly reporter: FolderReporter; readonly clock: Clock },
  ) {
    this.#total = total;
    this.#reporter = tools.reporter;
    this.#clock = tools.clock;
  }

  /** Something happened to a file that is not at its end. */
  passing(file: string, event: PassingEvent): void {
    if (event.type === 'stalled') return this.#reporter.stalled(file, event);
    if (event.type === 'started')
      this.#moving.set(file, { received: 0, bytesPerSecond: 0, ...NOTHING });
    else this.#moving.set(file, event);
    this.#tell();
  }

  /** A file is at its end. */
  ended(result: FileResult): void {
    this.#moving.delete(result.file);
    this.#counts[result.type] += 1;
    if (result.type === 'failed') this.#firstError ??= result.error;
    else this.#finishedBytes += result.length;
    if (result.type === 'done') {
      this.#placedBytes += result.length;
      this.#sources = sumOf(this.#sources, result);
    }
    this.#reporter.file(result);
    this.#tell();
  }

  /** What it all came to; `error` ended it before its end. */
  summary(facts: {
    readonly seconds: number;
    readonly output: string;
    readonly error?: CodedError | undefined;
  }): FolderSummary {
    const { seconds, output, error } = facts;
    return {
      files: this.#total.files,
      ...this.#counts,
      length: this.#placedBytes,
      seconds,
      ...this.#sources,
      output,
      firstError: this.#firstError ?? error,
    };
  }

  #tell(): void {
    const now = this.#clock.monotonic();
    if (now - this.#toldMs < PROGRESS_MS) return;
    this.#toldMs = now;
    const moving = [...this.#moving.values()];
    const { done, unchanged, failed } = this.#counts;
    this.#reporter.progress({
      ...this.#total,
      finished: done + unchanged + failed,
      received: this.#finishedBytes + sum(moving.map(({ received }) => received)),
      bytesPerSecond: sum(moving.map(({ bytesPerSecond }) => bytesPerSecond)),
      ...moving.reduce(sumOf, this.#sources),
    });
  }
}

function sumOf(left: ByteSources, right: ByteSources): ByteSources {
  return {
    fromPeers: left.fromPeers + right.fromPeers,
    fromSeed: left.fromSeed + right.fromSeed,
    fromOrigin: left.fromOrigin + right.fromOrigin,
    fromCache: left.fromCache + right.fromCache,
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, value) => total + value, 0);
}
