import type { Random } from '../../core/base/random.ts';
import { Bitfield } from '../../core/piece/bitfield.ts';
import { pieceCount } from '../../core/piece/piece-length.ts';

import { openManifest } from '../../core/swarm/manifest.ts';
import type { Holding, Registered, TaskShape, TaskSpec, Update } from '../../core/wire/messages.ts';

/** What a batch of digests is about. */
interface BatchFacts {
  readonly indexes: readonly number[];
  readonly isFinal: boolean;
}

/** Opens each batch once for all hosts of a process: a real host opens it once, too, but has a machine of its own. */
export class BatchReader {
  readonly #known = new Map<string, { text: string; facts: BatchFacts }>();

  /** The same text is kept once, however many hosts hold it. */
  read(text: string): { readonly text: string; readonly facts: BatchFacts } {
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const { body, entries } = openManifest(text, 'manifest');
    const facts = {
      indexes: entries.map(({ index }) => index),
      isFinal: body.length !== undefined,
    };
    const read = { text, facts };
    this.#known.set(text, read);
    return read;
  }
}

/** One version on a light host: pieces whose digest is known come to be had at a rate, in any order. */
export class CrowdTask {
  readonly taskId: string;
  readonly version: string;
  readonly spec: TaskSpec;
  readonly shape: TaskShape;
  readonly pieces: Bitfield;
  readonly parents = new Set<string>();
  failure: string | undefined;
  readonly #reader: BatchReader;
  readonly #piecesPerSecond: number;
  #manifest: string[] = [];
  readonly #known: Bitfield;
  readonly #takeable: number[] = [];
  #due = 0;

  constructor(
    registered: Registered,
    options: {
      readonly spec: TaskSpec;
      readonly reader: BatchReader;
      readonly piecesPerSecond: number;
    },
  ) {
    const { task, shape, manifest, parents } = registered;
    this.taskId = task;
    this.version = shape.version;
    this.shape = shape;
    this.spec = options.spec;
    this.#reader = options.reader;
    this.#piecesPerSecond = options.piecesPerSecond;
    const count = pieceCount(shape.length ?? 0, shape.pieceLength);
    this.pieces = new Bitfield(count);
    this.#known = new Bitfield(count);
    this.#learn(manifest);
    for (const { peer } of parents) this.parents.add(peer);
  }

  get isComplete(): boolean {
    return this.pieces.isFull;
  }

  get manifest(): readonly string[] {
    return this.#manifest;
  }

  get holding(): Holding {
    const { version, pieces, isComplete } = this;
    return isComplete
      ? { version }
      : { version, pieces: Buffer.from(pieces.snapshot()).toString('base64') };
  }

  take({ manifest = [], parents = [], failed }: Update): void {
    this.#learn(manifest);
    for (const { peer } of parents) this.parents.add(peer);
    this.failure = failed?.message ?? this.failure;
  }

  /** Pieces that came in the last `ms`. */
  advance(ms: number, random: Random): number[] {
    this.#due += (this.#piecesPerSecond * ms) / 1_000;
    const had: number[] = [];
    for (; this.#due >= 1 && this.#takeable.length > 0; this.#due -= 1) {
      const at = random.below(this.#takeable.length);
      const piece = this.#takeable[at] ?? 0;
      this.#takeable[at] = this.#takeable.at(-1) ?? 0;
      this.#takeable.pop();
      this.pieces.set(piece);
      had.push(piece);
    }
    // What could not be had while digests were waited for is not made up for.
    this.#due = Math.min(this.#due, 1);
    return had;
  }

  #learn(batches: readonly string[]): void {
    for (const batch of batches) {
      const { text, facts } = this.#reader.read(batch);
      const isAll = facts.isFinal && facts.indexes.length === this.pieces.length;
      if (isAll) this.#manifest = [text];
      else this.#manifest.push(text);
      for (const index of facts.indexes) if (this.#known.set(index)) this.#takeable.push(index);
    }
  }
}
