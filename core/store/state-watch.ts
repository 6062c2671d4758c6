import { CodedError } from '../base/error.ts';
import { isInRange, stateLimits } from './state-store.ts';
import type { KeyRange, StateCommit } from './state-store.ts';

/** Commits on their way to one reader, at most `stateLimits.unwatched` of them. */
export class StateWatch implements AsyncIterableIterator<StateCommit, undefined> {
  readonly #range: KeyRange;
  readonly #signal: AbortSignal;
  readonly #onEnd: () => void;
  readonly #onAbort = (): void => this.end();
  #commits: StateCommit[] = [];
  #readers: PromiseWithResolvers<IteratorResult<StateCommit, undefined>>[] = [];
  #ended: { readonly error?: CodedError } | undefined;

  constructor(
    range: KeyRange,
    options: { readonly signal: AbortSignal; readonly onEnd: () => void },
  ) {
    this.#range = range;
    this.#signal = options.signal;
    this.#onEnd = options.onEnd;
    this.#signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Gives it on if it changes something in the range. */
  offer({ revision, changes }: StateCommit): void {
    if (this.#ended !== undefined) return;
    const watched = changes.filter(({ key }) => isInRange(key, this.#range));
    if (watched.length === 0) return;
    const commit = { revision, changes: watched };
    const reader = this.#readers.shift();
    if (reader !== undefined) reader.resolve({ done: false, value: commit });
    else if (this.#commits.length < stateLimits.unwatched) this.#commits.push(commit);
    else this.end(new CodedError('ERR_BUSY', 'a reader of changes of the state fell behind'));
  }

  /** Nothing comes any more; an error is told after what was there before it. */
  end(error?: CodedError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error === undefined ? {} : { error };
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#onEnd();
    for (const reader of this.#readers.splice(0)) reader.resolve({ done: true, value: undefined });
  }

  async next(): Promise<IteratorResult<StateCommit, undefined>> {
    const commit = this.#commits.shift();
    if (commit !== undefined) return { done: false, value: commit };
    if (this.#ended === undefined) {
      const reader = Promise.withResolvers<IteratorResult<StateCommit, undefined>>();
      this.#readers.push(reader);
      return reader.promise;
    }
    const { error } = this.#ended;
    this.#ended = {};
    if (error !== undefined) throw error;
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<StateCommit, undefined>> {
    this.#commits = [];
    this.end();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
