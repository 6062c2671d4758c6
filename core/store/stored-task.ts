import { abortable, abortReason } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { Bitfield } from '../piece/bitfield.ts';
import type { Validators } from '../piece/version.ts';
import { syncDataFile } from './data-file.ts';
import { DataIntegrity } from './data-integrity.ts';
import { HadPieces } from './had-pieces.ts';
import type { JournalChange } from './journal.ts';
import { ManifestLog } from './manifest-log.ts';
import type { FinalFacts } from './manifest-log.ts';
import type { DigestOrigin } from './piece-digests.ts';
import { readPieces } from './read-pieces.ts';
import { RowWriter } from './row-writer.ts';
import { encodeTaskRow, taskKey, taskName } from './task-row.ts';
import type { ManifestEntry, SealedFile, TaskRow } from './task-row.ts';
import type { TaskSurroundings } from './task-surroundings.ts';
import { TaskUse } from './task-use.ts';

/**
 * One version of a task on disk: its facts, which pieces it has, and their digests.
 * Hold `acquire()` while it is used: whatever is not in use may be evicted at the next turn of the event loop.
 */
export class StoredTask {
  readonly taskId: string;
  readonly version: string;
  readonly pieceLength: number;
  /** The data file; workers read and write it. */
  readonly path: string;
  readonly url: string | undefined;
  readonly scope: string | undefined;
  readonly isPrivate: boolean;
  readonly validators: Validators;
  readonly createdMs: number;
  readonly #around: TaskSurroundings;
  /** What of the row never changes; the rest is put over it. */
  readonly #firstRow: TaskRow;
  readonly #had: HadPieces;
  readonly #integrity: DataIntegrity;
  readonly #manifest: ManifestLog;
  readonly #writer: RowWriter;
  readonly #use: TaskUse;
  #recovering: Promise<void> | undefined;
  #wholeDigest: string | undefined;
  #isManifestFinal: boolean;
  #keptUntilMs: number | undefined;
  #boot: string | undefined;
  #marks = 0;
  #isGone = false;

  /** For `PieceStore` only. */
  constructor(
    around: TaskSurroundings,
    stored: { readonly row: TaskRow; readonly path: string; readonly hasFile: boolean },
  ) {
    const { row, hasFile } = stored;
    this.#around = around;
    this.#firstRow = row;
    this.taskId = row.taskId;
    this.version = row.version;
    this.pieceLength = row.pieceLength;
    this.path = stored.path;
    this.url = row.url;
    this.scope = row.scope;
    this.isPrivate = row.isPrivate;
    this.validators = row.validators;
    this.createdMs = row.createdMs;
    this.#wholeDigest = row.wholeDigest;
    this.#isManifestFinal = row.isManifestFinal;
    this.#boot = row.boot;
    this.#keptUntilMs = row.keptUntilMs;
    this.#use = new TaskUse(around.clock, {
      accessedMs: row.accessedMs,
      onIdle: () => this.#rest(),
    });
    const had = new HadPieces(row);
    const digestOf = (piece: number): string | undefined => this.digestOf(piece);
    this.#had = had;
    this.#integrity = new DataIntegrity({ path: stored.path, had, digestOf }, { ...row, hasFile });
    this.#writer = new RowWriter((changes, durable) => this.#write(changes, durable));
    this.#manifest = new ManifestLog(
      {
        journal: around.journal,
        name: this.name,
        capacity: () => this.pieces.length,
        lose: (pieces) => this.#integrity.lose(pieces),
        commit: (changes, final) => this.#commitManifest(changes, final),
        onMalformed: (key) => this.#dropManifestRow(key),
      },
      row.manifestRows,
    );
  }

  /** `<taskId>-<version>`. */
  get name(): string {
    return taskName(this);
  }

  /** Bytes; undefined until the end of content whose origin does not say. */
  get length(): number | undefined {
    return this.#had.length;
  }

  /**
   * Verified and journalled pieces, over shared memory that never moves. While the length is unknown it has
   * 64 Ki bits; `setLength` puts a view of the right length over the same bytes, so read this property anew.
   */
  get pieces(): Bitfield {
    return this.#had.verified;
  }

  /** Undefined while the length is unknown. */
  get pieceCount(): number | undefined {
    return this.length === undefined ? undefined : this.pieces.length;
  }

  /** True when every piece is there (empty content: at once); false while the task is suspect. */
  get isComplete(): boolean {
    return this.length !== undefined && !this.isSuspect && this.pieces.isFull;
  }

  /** True when pieces wait for `recover()`. */
  get isSuspect(): boolean {
    return this.#had.suspect !== undefined;
  }

  /** Bytes of the pieces that are there. */
  get receivedBytes(): number {
    return this.#had.verifiedBytes;
  }

  /** Bytes that count against the quota: received ones and those that wait for `recover()`. */
  get storedBytes(): number {
    return this.#had.storedBytes;
  }

  /** `sha256:HEX` of the content, once known. */
  get wholeDigest(): string | undefined {
    return this.#wholeDigest;
  }

  /** Size and mtime of the file as `complete()` found them; undefined before. */
  get sealed(): SealedFile | undefined {
    return this.#integrity.sealed;
  }

  /** Last use, wall time in ms. */
  get accessedMs(): number {
    return this.#use.accessedMs;
  }

  get inUse(): boolean {
    return this.#use.isActive;
  }

  /** Wall time until which it is not evicted, ms; undefined: it may be at any time. */
  get keptUntilMs(): number | undefined {
    const until = this.#keptUntilMs;
    return until === undefined || until <= this.#around.clock.now() ? undefined : until;
  }

  /** False when it may be evicted. */
  get isHeld(): boolean {
    return this.inUse || this.keptUntilMs !== undefined;
  }

  /** In use until disposed: not evicted, digests kept in memory; ERR_NOT_FOUND when it was removed. */
  acquire(): Disposable {
    this.#refuseIfGone();
    this.#manifest.keep = true;
    this.touch();
    return this.#use.acquire();
  }

  /** Notes an access; journalled at most once a minute. */
  touch(): void {
    if (!this.#use.touch() || this.#isGone) return;
    this.#writer.flush().catch((error: unknown) => this.#report(error));
  }

  /** Adds digests that the cell signed; un-has and answers with the pieces whose provisional digest was another. ERR_MANIFEST when the cell contradicts itself. */
  async addManifest(text: string, entries: readonly ManifestEntry[]): Promise<readonly number[]> {
    return this.#manifest.add({ batch: text, signer: undefined, entries });
  }

  /** Adds digests that one host vouches for, where none is known yet. Answers as `addManifest`: with nothing, as it replaces nothing. */
  async addProvisional(
    text: string,
    signer: string,
    entries: readonly ManifestEntry[],
  ): Promise<readonly number[]> {
    return this.#manifest.add({ batch: text, signer, entries });
  }

  /** Puts final signed batches in the place of all others, in one write with what they tell of the whole; they must cover every known piece. Answers and throws as `addManifest`. */
  async replaceManifest(
    texts: readonly string[],
    entries: readonly ManifestEntry[],
    final: FinalFacts = {},
  ): Promise<readonly number[]> {
    return this.#manifest.replace(
      texts.map((batch, at) => ({ batch, signer: undefined, entries: at === 0 ? entries : [] })),
      final,
    );
  }

  /** Forgets provisional digests (of one signer), un-has their pieces and answers with them. */
  async dropProvisional(signer?: string): Promise<readonly number[]> {
    return this.#manifest.dropProvisional(signer);
  }

  /** True after `replaceManifest`: nothing will be added. */
  get isManifestFinal(): boolean {
    return this.#isManifestFinal;
  }

  /** The sha256 of a piece in hex, as far as it is known. */
  digestOf(piece: number): string | undefined {
    return this.#manifest.digests().get(piece);
  }

  /** Who vouches for the digest of a piece. */
  originOf(piece: number): DigestOrigin | undefined {
    return this.#manifest.digests().originOf(piece);
  }

  /** True when the cell vouches for the digest of a piece. */
  isSigned(piece: number): boolean {
    return this.originOf(piece)?.origin === 'signed';
  }

  /** Pieces that are not there but could be verified, ascending. */
  *missingWithDigest(): Generator<number> {
    for (const piece of this.#manifest.digests().pieces()) {
      if (!this.pieces.has(piece)) yield piece;
    }
  }

  /** All batches, provisional ones too, in the order they came; read from the journal. */
  manifest(): readonly string[] {
    return this.#manifest.batches().map(({ batch }) => batch);
  }

  /** Records that the verified bytes of a piece are in the file; the bit is set when that is journalled. */
  async markHad(piece: number): Promise<void> {
    this.#boot = this.#around.bootId;
    this.#marks += 1;
    this.#integrity.stir();
    await this.#had.mark(piece, () => this.#writer.flush());
  }

  /** Records that the bytes of a piece are not what they should be. */
  async unmark(piece: number): Promise<void> {
    await this.#integrity.lose([piece]);
    await this.#writer.flush([], { durable: true });
  }

  /** States the length of content for which it was unknown; ERR_MANIFEST when another is known already. */
  async setLength(length: number): Promise<void> {
    if (this.length === length) return;
    this.#had.setLength(length);
    await this.#integrity.mend();
    await this.#writer.flush();
  }

  /** Records the digest of the whole content, `sha256:HEX`. */
  async setWholeDigest(digest: string): Promise<void> {
    this.#wholeDigest = digest;
    await this.#writer.flush();
  }

  /** Records size and mtime of the finished file and joins its manifest rows; RangeError while pieces are missing. */
  async complete(): Promise<void> {
    if (!this.isComplete) throw new RangeError(`task ${this.taskId} has missing pieces`);
    await this.#integrity.seal();
    await this.#manifest.compact();
    await this.#writer.flush();
  }

  /** `changed` when the finished file has another size or mtime than `complete()` recorded, or is gone: then `rehash()`. */
  checkUnchanged(): 'same' | 'changed' {
    return this.#integrity.check();
  }

  /**
   * Hashes all pieces that are there, un-has those that are wrong or have no known digest, and answers with them.
   * A file that an output shares is left to the output before it may be written again: open files are to be reopened.
   */
  async rehash(options: { signal?: AbortSignal | undefined } = {}): Promise<number[]> {
    using _use = this.acquire();
    return await this.#hash(() => this.#integrity.verify([...this.pieces.indexes()], options));
  }

  /** Hashes the pieces of a suspect task (the machine died, or the file was edited) and shows the right ones; await it before the first use. */
  async recover(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (!this.isSuspect) return;
    this.#recovering ??= this.#recover().finally(() => (this.#recovering = undefined));
    await abortable(this.#recovering, options.signal);
  }

  /** Verified bytes of `[start, end)` in chunks of at most 256 KiB; ERR_STORE_IO at a piece that is not there. */
  async *read(
    range: { readonly start: number; readonly end: number },
    options: { signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<Uint8Array> {
    using _use = this.acquire();
    yield* readPieces(this, range, options);
  }

  /** For `PieceStore` only: keeps it from being evicted until then, across restarts; undefined: no longer. */
  async keep(untilMs: number | undefined): Promise<void> {
    const before = this.#keptUntilMs;
    this.#keptUntilMs = untilMs;
    try {
      await this.#writer.flush([], { durable: true });
    } catch (error) {
      this.#keptUntilMs = before;
      throw error;
    }
  }

  /** For `PieceStore` only: to be awaited before anybody writes pieces. */
  async stir(): Promise<void> {
    await this.#integrity.makeFile();
    if (this.#integrity.stir()) await this.#writer.flush();
  }

  /** For `PieceStore` only: in use until the first `acquire()`, for ten seconds at most. */
  reserve(): void {
    this.#use.reserve();
  }

  /** For `PieceStore` only: no use is granted and no row written from now on. */
  retire(): void {
    this.#isGone = true;
  }

  /** For `PieceStore` only: what removes the task from the journal, once nothing of it is in flight. */
  async removal(): Promise<JournalChange[]> {
    await this.idle();
    return [{ type: 'del', key: taskKey(this.name) }, ...this.#manifest.removal()];
  }

  /** For `PieceStore` only: resolves when no journal write is in flight. */
  async idle(): Promise<void> {
    await this.#manifest.idle();
    await this.#writer.idle();
  }

  /** For `PieceStore` only: journals the row as it is. */
  async writeRow(): Promise<void> {
    await this.#writer.flush();
  }

  /** For `PieceStore` only: bytes may be lost if the machine dies, or the last access is not journalled. */
  get isUnsettled(): boolean {
    return this.#boot !== undefined || !this.#use.isJournalled;
  }

  /** For `PieceStore` only: brings the bytes to the platter and records that, so that another boot need not hash them. */
  async settle(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    const marks = this.#marks;
    if (this.#boot !== undefined && !this.isSuspect) {
      await syncDataFile(this.path);
      if (options.signal?.aborted === true) throw CodedError.from(abortReason(options.signal));
      if (marks === this.#marks) this.#boot = undefined;
    }
    await this.#writer.flush();
  }

  /** The last user is gone: digests are not needed, and whoever changes an unfinished file now is not one of us. */
  #rest(): void {
    this.#manifest.keep = false;
    if (this.#isGone || this.isSuspect || !this.#integrity.rest()) return;
    this.#writer.flush().catch((error: unknown) => this.#report(error));
  }

  async #recover(): Promise<void> {
    using _use = this.acquire();
    await this.#hash(() => this.#integrity.acquit());
    // What was read back under this boot came from the platter.
    if (this.#boot !== this.#around.bootId) this.#boot = undefined;
    await this.#writer.flush();
  }

  async #hash(work: () => Promise<number[]>): Promise<number[]> {
    const lost = await work();
    await this.#writer.flush([], { durable: lost.length > 0 });
    const facts = { task: this.taskId, pieces: lost.length };
    if (lost.length > 0) this.#around.log.warn(facts, 'bytes on disk are not what they were');
    return lost;
  }

  #dropManifestRow(key: string): void {
    this.#around.onMalformed(key);
    const forget = async (): Promise<void> => {
      this.#isManifestFinal = false;
      await this.#writer.flush([{ type: 'del', key }]);
      const digests = this.#manifest.digests();
      const had = [...this.pieces.indexes()];
      await this.#integrity.lose(had.filter((piece) => digests.get(piece) === undefined));
      await this.#writer.flush();
    };
    forget().catch((error: unknown) => this.#report(error));
  }

  #report(error: unknown): void {
    const { code } = CodedError.from(error);
    this.#around.log.warn({ task: this.taskId, code }, 'a journal row could not be written');
  }

  async #write(changes: readonly JournalChange[], durable: boolean): Promise<void> {
    this.#refuseIfGone();
    const row = this.#row();
    const put: JournalChange = { type: 'put', key: taskKey(this.name), value: encodeTaskRow(row) };
    await this.#around.journal.write([...changes, put], { durable });
    this.#use.journalled(row.accessedMs);
  }

  async #commitManifest(
    changes: readonly JournalChange[],
    final: FinalFacts | undefined,
  ): Promise<void> {
    const [wasFinal, digestBefore] = [this.#isManifestFinal, this.#wholeDigest];
    if (final !== undefined) {
      this.#isManifestFinal = true;
      this.#wholeDigest = final.wholeDigest ?? digestBefore;
    }
    try {
      await this.#writer.flush(changes);
    } catch (error) {
      // Asked for again, it must not be taken for done.
      if (final !== undefined) {
        this.#isManifestFinal = wasFinal;
        this.#wholeDigest = digestBefore;
      }
      throw error;
    }
  }

  #row(): TaskRow {
    return {
      ...this.#firstRow,
      length: this.length,
      wholeDigest: this.#wholeDigest,
      isManifestFinal: this.#isManifestFinal,
      manifestRows: this.#manifest.rows,
      accessedMs: this.accessedMs,
      sealed: this.sealed,
      rested: this.#integrity.rested,
      keptUntilMs: this.#keptUntilMs,
      boot: this.#boot,
      isSuspect: this.isSuspect,
      had: this.#had.snapshot(),
    };
  }

  #refuseIfGone(): void {
    if (!this.#isGone) return;
    throw new CodedError('ERR_NOT_FOUND', 'the task was removed from the store', {
      detail: { task: this.taskId, version: this.version },
    });
  }
}
