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
  /** The disk is full; false when there is no more room to be had. */
  makeRoom(error: CodedError): Promise<boolean>;
  /** The store is broken, or the cell contradicts itself (ERR_ORIGIN_CHANGED): nothing more can come of the task. */
  onBroken(error: CodedError): void;
}

/** Not the sender's fault, and who sent the batch does not send it again: without it the task would wait for ever. */
const BREAKING: ReadonlySet<string> = new Set([
  'ERR_NO_SPACE',
  'ERR_NOT_FOUND',
  'ERR_ORIGIN_CHANGED',
  'ERR_STORE_IO',
]);

/** Characters of batches that may wait to be taken in; more than any manifest has. What a host sends past it is dropped. */
const MAX_WAITING_CHARACTERS = 64 * 1024 * 1024;

/** Takes manifest batches in the order they come; a bad one is logged with its sender and passed over. */
export class ManifestIntake {
  readonly #parts: ManifestIntakeParts;
  #queue: Promise<void> = Promise.resolve();
  #waitingCharacters = 0;

  constructor(parts: ManifestIntakeParts) {
    this.#parts = parts;
  }

  add(batches: readonly string[], sender: string): void {
    const characters = batches.reduce((sum, batch) => sum + batch.length, 0);
    // The cell's own word is never crowded out.
    const isHost = sender !== 'supernode';
    if (isHost && this.#waitingCharacters + characters > MAX_WAITING_CHARACTERS) {
      this.#refuse(new CodedError('ERR_BUSY', 'too many batches are waiting'), sender);
      return;
    }
    this.#waitingCharacters += characters;
    this.#queue = this.#queue
      .then(async () => this.#take(batches, sender))
      .catch((error: unknown) => this.#parts.onBroken(CodedError.from(error)))
      .finally(() => (this.#waitingCharacters -= characters));
  }

  /** Resolves when everything that came so far has been taken in. */
  async idle(): Promise<void> {
    await this.#queue;
  }

  async #take(batches: readonly string[], sender: string): Promise<void> {
    const { stored } = this.#parts;
    const hadLength = stored.length !== undefined;
    const fresh: string[] = [];
    for (const batch of batches) {
      try {
        const change = await this.#keep(batch);
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

  async #keep(batch: string): Promise<ManifestChange> {
    const { stored, judge } = this.#parts;
    for (;;) {
      try {
        return await addManifestBatch(stored, batch, judge);
      } catch (error) {
        const coded = CodedError.from(error);
        if (coded.code !== 'ERR_NO_SPACE' || !(await this.#parts.makeRoom(coded))) throw coded;
      }
    }
  }

  #refuse(error: CodedError, sender: string): void {
    const { log, ledger } = this.#parts;
    const { code, message } = error;
    if (BREAKING.has(code)) this.#parts.onBroken(error);
    log.warn({ peer: sender, code, reason: message }, 'manifest batch refused');
    ledger.note(`manifest batch from ${sender} refused: ${message}`);
  }
}
