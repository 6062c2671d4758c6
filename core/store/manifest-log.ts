import { CodedError } from '../base/error.ts';
import type { Journal, JournalChange } from './journal.ts';
import { PieceDigests } from './piece-digests.ts';
import type { DigestConflict } from './piece-digests.ts';
import { nextRow, rowNumbers, withNextRow, withoutRows } from './row-runs.ts';
import type { RowRuns } from './row-runs.ts';
import { Serial } from './serial.ts';
import { encodeBatches, isManifestEntry, manifestKey, parseBatches } from './task-row.ts';
import type { ManifestEntry, StoredBatch } from './task-row.ts';

/** What a manifest needs of its task. */
export interface ManifestOwner {
  readonly journal: Journal;
  /** `<taskId>-<version>`. */
  readonly name: string;
  /** How many pieces there may be. */
  capacity(): number;
  /** Un-has pieces whose digest is gone or another, and answers with all that are lost; the next journal write says so. */
  lose(pieces: readonly number[]): Promise<readonly number[]>;
  /** Journals the changes together with the task's row, which then states what is final. */
  commit(changes: readonly JournalChange[], final: FinalFacts | undefined): Promise<void>;
  /** A row cannot be read and was dropped. */
  onMalformed(key: string): void;
}

/** What is known of the whole content when its manifest is final. */
export interface FinalFacts {
  readonly wholeDigest?: string | undefined;
}

interface Plan {
  readonly changes: readonly JournalChange[];
  readonly conflicts: readonly DigestConflict[];
  /** The rows that are there afterwards. */
  readonly rows: RowRuns;
  readonly final?: FinalFacts | undefined;
  /** Brings the digests in memory up to date. */
  readonly apply: (digests: PieceDigests) => PieceDigests;
}

/**
 * The manifest of one task: rows in the journal, digests in memory only while `keep` is on.
 * Five thousand idle tasks would otherwise hold more memory than the whole daemon may.
 */
export class ManifestLog {
  readonly #owner: ManifestOwner;
  readonly #turns = new Serial();
  #rows: RowRuns;
  /** As `#rows`, ahead of it while a change is being journalled. */
  #rowsToBe: RowRuns;
  #digests: PieceDigests | undefined;
  #isKept = false;

  /** `rows`: those that are there. */
  constructor(owner: ManifestOwner, rows: RowRuns) {
    this.#owner = owner;
    this.#rows = rows;
    this.#rowsToBe = rows;
  }

  /** While true the digests stay in memory after their first use. */
  set keep(isKept: boolean) {
    this.#isKept = isKept;
    if (!isKept) this.#digests = undefined;
  }

  /** Numbers of the manifest rows, as the task's row in the same journal write must state them. */
  get rows(): RowRuns {
    return this.#rowsToBe;
  }

  digests(): PieceDigests {
    const digests = this.#digests ?? PieceDigests.of(this.batches());
    if (this.#isKept) this.#digests = digests;
    return digests;
  }

  /** All batches in the order they came, read from the journal. */
  batches(): StoredBatch[] {
    const before = this.#read(this.#rows);
    if (before.malformed.length === 0) return before.batches;
    // A rewrite may have reached the journal, and its answer not yet us.
    const isChanging = this.#rowsToBe !== this.#rows;
    if (isChanging) return this.#read(this.#rowsToBe).batches;
    this.#forget(before.malformed);
    return before.batches;
  }

  #read(rows: RowRuns): { batches: StoredBatch[]; malformed: number[] } {
    const batches: StoredBatch[] = [];
    const malformed: number[] = [];
    for (const sequence of rowNumbers(rows)) {
      const key = this.#key(sequence);
      const row = parseBatches(key, this.#owner.journal.get(key) ?? '');
      if (row === undefined) malformed.push(sequence);
      else batches.push(...row);
    }
    return { batches, malformed };
  }

  /** Adds a batch. Signed: un-has and answers with the pieces it contradicts. Provisional: never replaces anything, and answers with nothing. */
  async add(batch: StoredBatch): Promise<readonly number[]> {
    return this.#run(() => this.#planAdd(batch), { isUnhaving: batch.signer === undefined });
  }

  /** Puts final signed batches in the place of all; ERR_MANIFEST when they contradict or leave out what is known. */
  async replace(batches: readonly StoredBatch[], final: FinalFacts): Promise<readonly number[]> {
    return this.#run(() => ({ ...this.#planReplace(batches), final }), { isUnhaving: true });
  }

  /** Forgets provisional batches, of one signer or of all; un-has and answers with the pieces that lose their digest. */
  async dropProvisional(signer: string | undefined): Promise<readonly number[]> {
    return this.#run(() => this.#planDrop(signer), { isUnhaving: true });
  }

  /** Joins all rows into one, without provisional batches that the cell has signed since. */
  async compact(): Promise<void> {
    if (nextRow(this.#rows) - (this.#rows[0]?.[0] ?? 0) > 1)
      await this.#run(() => this.#planCompact(), { isUnhaving: false });
  }

  /** Resolves when no change is under way. */
  async idle(): Promise<void> {
    await this.#turns.idle();
  }

  /** What removes every row. */
  removal(): JournalChange[] {
    const rows = [...rowNumbers(this.#rows)];
    return rows.map((sequence) => ({ type: 'del', key: this.#key(sequence) }));
  }

  async #run(makePlan: () => Plan, options: { isUnhaving: boolean }): Promise<readonly number[]> {
    return this.#turns.run(async () => {
      const plan = makePlan();
      const losers = options.isUnhaving ? plan.conflicts.map(({ piece }) => piece) : [];
      const lost = await this.#owner.lose(losers);
      if (plan.changes.length > 0 || plan.final !== undefined) await this.#commit(plan);
      return lost;
    });
  }

  async #commit(plan: Plan): Promise<void> {
    this.#rowsToBe = plan.rows;
    try {
      await this.#owner.commit(plan.changes, plan.final);
      this.#rows = plan.rows;
      if (this.#digests !== undefined) this.#digests = plan.apply(this.#digests);
    } finally {
      this.#rowsToBe = this.#rows;
    }
  }

  #planAdd(batch: StoredBatch): Plan {
    checkEntries(batch.entries, this.#owner.capacity());
    const { isNews, conflicts } = this.digests().effectOf(batch);
    const isSigned = batch.signer === undefined;
    if (isSigned) refuseSigned(conflicts);
    if (!isNews) return this.#planNothing(conflicts);
    return {
      changes: [this.#put(nextRow(this.#rows), [batch])],
      conflicts,
      rows: withNextRow(this.#rows),
      apply: (digests) => {
        digests.add(batch);
        return digests;
      },
    };
  }

  #planReplace(batches: readonly StoredBatch[]): Plan {
    for (const { entries } of batches) checkEntries(entries, this.#owner.capacity());
    const before = this.digests();
    const after = PieceDigests.of(batches);
    const conflicts = batches.flatMap((batch) => before.effectOf(batch).conflicts);
    refuseSigned(conflicts);
    for (const batch of batches) refuseSigned(after.effectOf(batch).conflicts);
    for (const piece of before.pieces()) {
      if (after.get(piece) === undefined) throw manifestError('a piece is left out', piece);
    }
    return this.#planRewrite(batches, conflicts);
  }

  #planDrop(signer: string | undefined): Plan {
    const before = this.digests();
    const all = this.batches();
    const kept = all.filter(
      (batch) => batch.signer === undefined || (signer !== undefined && batch.signer !== signer),
    );
    if (kept.length === all.length) return this.#planNothing([]);
    const after = PieceDigests.of(kept);
    const lost: DigestConflict[] = [];
    for (const piece of before.pieces()) {
      const known = before.originOf(piece);
      if (known?.origin !== 'provisional' || after.get(piece) === before.get(piece)) continue;
      lost.push({ piece, signer: known.signer });
    }
    return this.#planRewrite(kept, lost);
  }

  #planCompact(): Plan {
    const digests = this.digests();
    const kept = this.batches().filter(
      (batch) =>
        batch.signer === undefined ||
        batch.entries.some(({ index }) => digests.originOf(index)?.origin === 'provisional'),
    );
    return this.#planRewrite(kept, []);
  }

  #planRewrite(batches: readonly StoredBatch[], conflicts: readonly DigestConflict[]): Plan {
    const sequence = nextRow(this.#rows);
    const puts = batches.length === 0 ? [] : [this.#put(sequence, batches)];
    return {
      changes: [...this.removal(), ...puts],
      conflicts,
      rows: batches.length === 0 ? [] : [[sequence, sequence + 1]],
      apply: () => PieceDigests.of(batches),
    };
  }

  #planNothing(conflicts: readonly DigestConflict[]): Plan {
    return { changes: [], conflicts, rows: this.#rows, apply: (digests) => digests };
  }

  /** Pieces that only a lost row vouched for cannot be proven any more. */
  #forget(malformed: readonly number[]): void {
    this.#rows = withoutRows(this.#rows, malformed);
    this.#rowsToBe = this.#rows;
    const keys = malformed.map((sequence) => this.#key(sequence));
    for (const key of keys) this.#owner.onMalformed(key);
  }

  #put(sequence: number, batches: readonly StoredBatch[]): JournalChange {
    const key = this.#key(sequence);
    return { type: 'put', key, value: encodeBatches(key, batches) };
  }

  #key(sequence: number): string {
    return manifestKey(this.#owner.name, sequence);
  }
}

function checkEntries(entries: readonly ManifestEntry[], capacity: number): void {
  const seen = new Map<number, string>();
  for (const entry of entries) {
    const { index, digest } = entry;
    if (!isManifestEntry(entry) || index >= capacity) {
      throw manifestError('an entry is malformed or past the end', index);
    }
    if ((seen.get(index) ?? digest) !== digest) {
      throw manifestError('a batch contradicts itself', index);
    }
    seen.set(index, digest);
  }
}

function refuseSigned(conflicts: readonly DigestConflict[]): void {
  const against = conflicts.find((conflict) => conflict.signer === undefined);
  if (against === undefined) return;
  throw manifestError('a signed digest contradicts an earlier one', against.piece);
}

function manifestError(message: string, piece: number): CodedError {
  return new CodedError('ERR_MANIFEST', message, { detail: { piece } });
}
