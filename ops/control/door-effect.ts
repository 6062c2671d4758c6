import type { Expectation, StateChange } from '../../core/store/state-store.ts';

/** What a verb is to change. Making it changes nothing: it may be made again, or never be committed. */
export interface Effect<T> {
  readonly changes: readonly StateChange[];
  readonly expect?: readonly Expectation[];
  /** True: proven to allow nothing that was not allowed before. */
  readonly isNarrower?: boolean;
  /** For the audit; no secrets. */
  readonly detail: Readonly<Record<string, unknown>>;
  /** Called once, when changes and audit are on the disk: acts on them, and says what the caller is told. */
  readonly answer: () => T;
  /** Called instead of `answer` when it is certain that nothing was committed. */
  readonly undo?: () => void;
}
