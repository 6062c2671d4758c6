import { CodedError } from '../base/error.ts';
import type { Log } from '../base/log.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { Ledger } from './ledger.ts';
import { addManifestBatch } from './task-manifest.ts';
import type { ManifestChange, ManifestJudge } from './task-manifest.ts';

export interface ManifestIntakeParts {
  readonly stored: StoredTask;
  readonly judge: ManifestJudge;
  readonly ledger: Ledger;
  readonly log: Log;
  onChange(change: ManifestChange): void;
  /** Batches that brought something new; `isFirstLength`: they told how long the content is. */
  onGrown(fresh: readonly string[], options: { readonly isFirstLength: boolean }): void;
  /** The store is broken, or the cell contradicts itself (ERR_ORIGIN_CHANGED): nothing more can come of the task. */
  onBroken(error: CodedError): void;
}

/** Takes manifest batches in the order they come; a bad one is logged with its sender and passed over. */
export class ManifestIntake {
  readonly #parts: ManifestIntakeParts;
  #queue: Promise<void> = Promise.resolve();

  constructor(parts: ManifestIntakeParts) {
    this.#parts = parts;
  }

  add(batches: readonly string[], sender: string): void {
    this.#queue = this.#queue
      .then(async () => this.#take(batches, sender))
      .catch((error: unknown) => this.#parts.onBroken(CodedError.from(error)));
  }

  /** Resolves when everything that came so far has been taken in. */
  async idle(): Promise<void> {
    await this.#queue;
  }

  async #take(batches: readonly string[], sender: string): Promise<void> {
    const { stored, judge } = this.#parts;
    const hadLength = stored.length !== undefined;
    const fresh: string[] = [];
    for (const batch of batches) {
      try {
        const change = await addManifestBatch(stored, batch, judge);
        if (!change.isNews) continue;
        fresh.push(batch);
        this.#parts.onChange(change);
      } catch (error) {
        this.#refuse(CodedError.from(error), sender);
      }
    }
    const isFirstLength = !hadLength && stored.length !== undefined;
    if (fresh.length > 0) this.#parts.onGrown(fresh, { isFirstLength });
  }

  #refuse(error: CodedError, sender: string): void {
    const { log, ledger } = this.#parts;
    const { code, message } = error;
    log.warn({ peer: sender, code, reason: message }, 'manifest batch refused');
    ledger.note(`manifest batch from ${sender} refused: ${message}`);
    if (code === 'ERR_ORIGIN_CHANGED') this.#parts.onBroken(error);
  }
}
