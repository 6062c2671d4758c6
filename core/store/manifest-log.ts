import { CodedError } from '../base/error.ts';
import type { Journal, JournalChange } from './journal.ts';
import { PieceDigests } from './piece-digests.ts';
import type { DigestConflict } from './piece-digests.ts';
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
  /** Journals the changes together with the task's row. */
  commit(changes: readonly JournalChange[]): Promise<void>;
  /** A row cannot be read and was dropped. */
  onMalformed(key: string): void;
}

interface Plan {
  readonly changes: readonly JournalChange[];
  readonly conflicts: readonly DigestConflict[];
  /** The rows that are there afterwards. */
  readonly sequences: readonly number[];
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
  #sequences: readonly number[];
  /** As `#sequences`, ahead of it while a change is being journalled. */
  #rowSequences: readonly number[];
  #digests: PieceDigests | undefined;
  #isKept = false;

  /** `sequences`: numbers of the rows that are there, ascending. */
  constructor(owner: ManifestOwner, sequences: readonly number[]) {
    this.#owner = owner;
    this.#sequences = sequences;
    this.#rowSequences = sequences;
  }

  /** While true the digests stay in memory after their first use. */
  set keep(isKept: boolean) {
    this.#isKept = isKept;
    if (!isKept) this.#digests = undefined;
  }

  /** Numbers of the manifest rows, as the task's row in the same journal write must state them. */
  get sequences(): readonly number[] {
    return this.#rowSequences;
  }

  digests(): PieceDigests {
    const digests = this.#digests ?? PieceDigests.of(this.batches());
    if (this.#isKept) this.#digests = digests;
    return digests;
  }

  /** All batches in the order they came, read from the journal. */
  batches(): StoredBatch[] {
    const before = this.#read(this.#sequences);
    if (before.malformed.length === 0) return before.batches;
    // A rewrite may have reached the journal, and its answer not yet us.
    const isChanging = this.#rowSequences !== this.#sequences;
    if (isChanging) return this.#read(this.#rowSequences).batches;
    this.#forget(before.malformed);
    return before.batches;
  }

  #read(sequences: readonly number[]): { batches: StoredBatch[]; malformed: number[] } {
    const batches: StoredBatch[] = [];
    const malformed: number[] = [];
    for (const sequence of sequences) {
      const row = parseBatches(this.#owner.journal.get(this.#key(sequence)) ?? '');
      if (row === undefined) malformed.push(sequence);
      else batches.push(...row);
    }
    return { batches, malformed };
  }

  /** Adds a batch. Signed: un-has and answers with the pieces it contradicts. Provisional: never replaces anything, and answers with nothing. */
  async add(batch: StoredBatch): Promise<readonly number[]> {
    return this.#run(() => this.#planAdd(batch), { isUnhaving: batch.signer === undefined });
  }

  /** Puts signed batches in the place of all; ERR_MANIFEST when they contradict or leave out what is known. */
  async replace(batches: readonly StoredBatch[]): Promise<readonly number[]> {
    return this.#run(() => this.#planReplace(batches), { isUnhaving: true });
  }

  /** Forgets provisional batches, of one signer or of all; un-has and answers with the pieces that lose their digest. */
  async dropProvisional(signer: string | undefined): Promise<readonly number[]> {
    return this.#run(() => this.#planDrop(signer), { isUnhaving: true });
  }

  /** Joins all rows into one, without provisional batches that the cell has signed since. */
  async compact(): Promise<void> {
    if (this.#sequences.length > 1)
      await this.#run(() => this.#planCompact(), { isUnhaving: false });
  }

  /** Resolves when no change is under way. */
  async idle(): Promise<void> {
    await this.#turns.idle();
  }

  /** What removes every row. */
  removal(): JournalChange[] {
    return this.#sequences.map((sequence) => ({ type: 'del', key: this.#key(sequence) }));
  }

  async #run(makePlan: () => Plan, options: { isUnhaving: boolean }): Promise<readonly number[]> {
    return this.#turns.run(async () => {
      const plan = makePlan();
      const losers = options.isUnhaving ? plan.conflicts.map(({ piece }) => piece) : [];
      const lost = await this.#owner.lose(losers);
      if (plan.changes.length > 0) await this.#commit(plan);
      return lost;
    });
  }

  async #commit(plan: Plan): Promise<void> {
    this.#rowSequences = plan.sequences;
    try {
      await this.#owner.commit(plan.changes);
      this.#sequences = plan.sequences;
      if (this.#digests !== undefined) this.#digests = plan.apply(this.#digests);
    } finally {
      this.#rowSequences = this.#sequences;
    }
  }

  #planAdd(batch: StoredBatch): Plan {
    checkEntries(batch.entries, this.#owner.capacity());
    const { isNews, conflicts } = this.digests().effectOf(batch);
    const isSigned = batch.signer === undefined;
    if (isSigned) refuseSigned(conflicts);
    if (!isNews) return this.#planNothing(conflicts);
    const sequence = this.#nextSequence();
    return {
      changes: [this.#put(sequence, [batch])],
      conflicts,
      sequences: [...this.#sequences, sequence],
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
    const sequence = this.#nextSequence();
    const puts = batches.length === 0 ? [] : [this.#put(sequence, batches)];
    return {
      changes: [...this.removal(), ...puts],
      conflicts,
      sequences: batches.length === 0 ? [] : [sequence],
      apply: () => PieceDigests.of(batches),
    };
  }

  #planNothing(conflicts: readonly DigestConflict[]): Plan {
    return { changes: [], conflicts, sequences: this.#sequences, apply: (digests) => digests };
  }

  /** Pieces that only a lost row vouched for cannot be proven any more. */
  #forget(malformed: readonly number[]): void {
    this.#sequences = this.#sequences.filter((sequence) => !malformed.includes(sequence));
    this.#rowSequences = this.#sequences;
    const keys = malformed.map((sequence) => this.#key(sequence));
    for (const key of keys) this.#owner.onMalformed(key);
  }

  #put(sequence: number, batches: readonly StoredBatch[]): JournalChange {
    return { type: 'put', key: this.#key(sequence), value: encodeBatches(batches) };
  }

  #nextSequence(): number {
    return (this.#sequences.at(-1) ?? -1) + 1;
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
