import { CodedError } from '../base/error.ts';
import {
  createDataFile,
  dataFileFacts,
  dataFileFactsNow,
  isSameFile,
  mendDataFile,
  sealOf,
} from './data-file.ts';
import type { FileFacts } from './data-file.ts';
import type { HadPieces } from './had-pieces.ts';
import type { SealedFile } from './task-row.ts';
import { verifyPieces } from './verify-pieces.ts';

/** What watching over a data file needs of its task. */
export interface GuardedTask {
  readonly path: string;
  readonly had: HadPieces;
  digestOf(piece: number): string | undefined;
}

/**
 * Keeps what the bits of a task say true to what its data file holds. Whenever pieces are lost, the file is first
 * parted from outputs that share it, because lost pieces will be written again.
 */
export class DataIntegrity {
  readonly #task: GuardedTask;
  #sealed: SealedFile | undefined;
  #rested: SealedFile | undefined;
  #hasFile: boolean;

  constructor(
    task: GuardedTask,
    known: {
      readonly sealed: SealedFile | undefined;
      readonly rested: SealedFile | undefined;
      readonly hasFile: boolean;
    },
  ) {
    this.#task = task;
    this.#sealed = known.sealed;
    this.#rested = known.rested;
    this.#hasFile = known.hasFile;
  }

  /** The finished file; undefined while it is not finished. */
  get sealed(): SealedFile | undefined {
    return this.#sealed;
  }

  /** The unfinished file when nobody wrote to it any more; undefined while somebody may. */
  get rested(): SealedFile | undefined {
    return this.#rested;
  }

  /** Nobody writes to the file until `stir()`: what it looks like is remembered. False when there is nothing to remember. */
  rest(): boolean {
    const { path, had } = this.#task;
    if (this.#sealed !== undefined || this.#rested !== undefined || had.storedBytes === 0)
      return false;
    const facts = dataFileFactsNow(path);
    this.#rested = facts === undefined ? undefined : sealOf(facts);
    return this.#rested !== undefined;
  }

  /** The file may be written from now on; true when that is news, and to be journalled before. */
  stir(): boolean {
    const isNews = this.#rested !== undefined;
    this.#rested = undefined;
    return isNews;
  }

  /** Makes the file if it was gone when the folder was opened; to be awaited before anybody writes pieces. */
  async makeFile(): Promise<void> {
    if (!this.#hasFile) await this.mend();
  }

  /** Remembers size and mtime of the finished file; ERR_STORE_IO when it is not as long as the content. */
  async seal(): Promise<void> {
    const { path, had } = this.#task;
    const facts = await dataFileFacts(path);
    if (facts === undefined || facts.size !== had.length) {
      throw new CodedError('ERR_STORE_IO', 'the data file is not as long as the content', {
        detail: { path, size: facts?.size ?? -1 },
      });
    }
    this.#sealAs(facts);
  }

  /** Compares the finished file with what it was. */
  check(): 'same' | 'changed' {
    if (this.#sealed === undefined) return 'same';
    return isSameFile(dataFileFactsNow(this.#task.path), this.#sealed) ? 'same' : 'changed';
  }

  /** Hashes pieces, un-has those that are wrong or not provable, and answers with them, ascending. */
  async verify(
    pieces: readonly number[],
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<number[]> {
    const { path, had } = this.#task;
    const { wrong, facts, isWhole } = await verifyPieces(
      {
        path,
        pieceLength: had.pieceLength,
        length: had.length,
        digestOf: (piece) => this.#task.digestOf(piece),
      },
      pieces,
      options,
    );
    if (wrong.length === 0 && isWhole) {
      if (this.#sealed !== undefined) this.#sealAs(facts);
      return [];
    }
    const isKept = await this.mend();
    this.#unhave(wrong);
    if (this.#sealed !== undefined) this.#sealAs(await dataFileFacts(path));
    return isKept ? [...wrong] : [...pieces];
  }

  /** Hashes what is suspect and ends the suspicion: what is right is had, what is wrong is lost. */
  async acquit(): Promise<number[]> {
    const { had } = this.#task;
    this.#rested = undefined;
    const lost = await this.verify([...(had.suspect?.indexes() ?? [])]);
    had.acquit();
    return lost;
  }

  /** Un-has pieces, and answers with all that are lost: every piece, when the file cannot be parted from an output. */
  async lose(pieces: readonly number[]): Promise<readonly number[]> {
    if (pieces.length === 0) return pieces;
    const { path, had } = this.#task;
    const all = [...had.verified.indexes()];
    const isShared = this.#sealed !== undefined && (dataFileFactsNow(path)?.links ?? 1) > 1;
    const isKept = !isShared || (await this.mend());
    this.#unhave(pieces);
    return isKept ? pieces : all;
  }

  /** Makes the file fit for writing again; false when all its bytes are lost, and then no piece is had. */
  async mend(): Promise<boolean> {
    const { path, had } = this.#task;
    this.#rested = undefined;
    const isKept = await mendDataFile(path, had.length);
    if (!isKept) {
      had.clearAll();
      this.#sealed = undefined;
      await createDataFile(path, had.length ?? 0);
    }
    this.#hasFile = true;
    return isKept;
  }

  #unhave(pieces: readonly number[]): void {
    this.#task.had.clear(pieces);
    if (pieces.length > 0) this.#sealed = undefined;
  }

  #sealAs(facts: FileFacts | undefined): void {
    this.#rested = undefined;
    this.#sealed = facts === undefined ? undefined : sealOf(facts);
  }
}
