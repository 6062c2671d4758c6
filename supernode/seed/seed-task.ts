import type { Clock, Timer } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { HostKey } from '../../core/identity/host-key.ts';
import { TINY_BYTES } from '../../core/piece/piece-length.ts';
import type { PieceStore, StoredTask } from '../../core/store/piece-store.ts';
import { contiguousRuns, sealManifest } from '../../core/swarm/manifest.ts';
import { contentLength, openerOf } from '../../core/swarm/origin-request.ts';
import { originRuns } from '../../core/swarm/split-origin.ts';
import type { RemoteOrigin, TransferPool } from '../../core/swarm/transfer-pool.ts';
import type { TaskShape, TaskSpec } from '../../core/wire/messages.ts';

/** What a version in the seed tells the swarm. */
export interface SeedListener {
  /** Signed batches that are new. */
  onManifest(seed: SeedTask, batches: readonly string[]): void;
  /** Pieces the seed can give now. */
  onPieces(seed: SeedTask, pieces: readonly number[]): void;
  onSettled(seed: SeedTask): void;
}

export interface SeedContext {
  readonly key: HostKey;
  readonly store: PieceStore;
  readonly pool: TransferPool;
  readonly clock: Clock;
  readonly log: Log;
  readonly listener: SeedListener;
  /** True when a connected host has the piece, so that the origin need not be asked for it. */
  isElsewhere(task: StoredTask, piece: number): boolean;
}

/** New digests are signed together for this long: a signature costs 40 µs, a message more. */
const SIGN_AFTER_MS = 10;
const RUN_PIECES = 64;

/** One version of a task in the seed: fetched once from the origin, signed, and offered as it arrives. */
export class SeedTask {
  readonly stored: StoredTask;
  readonly spec: TaskSpec;
  readonly shape: TaskShape;
  /** Resolves when it is complete or has failed. */
  readonly settled: Promise<void>;
  /** Shared with the workers: pieces that everybody may be told of. */
  readonly offered: Uint8Array;
  readonly #context: SeedContext;
  readonly #controller = new AbortController();
  /** Digests that wait to be signed. */
  readonly #unsigned = new Map<number, string>();
  /** Pieces on disk that wait for their digest to be signed. */
  readonly #arrived = new Set<number>();
  #settle: () => void = () => undefined;
  #state: 'idle' | 'fetching' | 'complete' | 'failed' = 'idle';
  #failure: CodedError | undefined;
  #timer: Timer | undefined;
  #writes: Promise<void> = Promise.resolve();
  #originBytes = 0;
  #isReading = false;

  constructor(
    context: SeedContext,
    version: { readonly stored: StoredTask; readonly spec: TaskSpec; readonly shape: TaskShape },
  ) {
    this.#context = context;
    this.stored = version.stored;
    this.spec = version.spec;
    this.shape = version.shape;
    this.offered = new Uint8Array(new SharedArrayBuffer(this.stored.pieces.bytes.length));
    const { promise, resolve } = Promise.withResolvers<void>();
    this.settled = promise;
    this.#settle = resolve;
  }

  get state(): 'idle' | 'fetching' | 'complete' | 'failed' {
    return this.#state;
  }

  get failure(): CodedError | undefined {
    return this.#failure;
  }

  /** True while the origin is sending this very version. */
  get isReading(): boolean {
    return this.#isReading;
  }

  /** Bytes taken from the origin for this version by this run of the program. */
  get originBytes(): number {
    return this.#originBytes;
  }

  get isTiny(): boolean {
    return this.stored.length !== undefined && this.stored.length <= TINY_BYTES;
  }

  /** Everything is here and signed from an earlier run. */
  async serveStored(): Promise<void> {
    this.offered.fill(0xff);
    await this.publish();
    this.#end('complete');
  }

  /** Streams an open answer of the origin, from its first byte on. */
  async fetchWhole(origin: RemoteOrigin): Promise<void> {
    this.#state = 'fetching';
    await this.publish();
    this.#run(async () => {
      await using open = origin;
      this.#isReading = true;
      const pumped = open.pump(this.stored, {
        start: 0,
        whole: true,
        signal: this.#controller.signal,
        onPiece: (piece, pieceDigest, size) => this.#take(piece, pieceDigest, size),
      });
      const { bytes, digest } = await pumped.finally(() => (this.#isReading = false));
      await this.#finish(bytes, digest);
    });
  }

  /** After a restart: fetches what neither this store nor any host has, by ranges of the same version. */
  async fetchMissing(): Promise<void> {
    this.#state = 'fetching';
    this.#context.listener.onPieces(this, [...this.stored.pieces.indexes()]);
    this.#run(async () => {
      for (let run = this.#nextRun(); run !== undefined; run = this.#nextRun())
        await this.#fetchRun(run);
      const { pool } = this.#context;
      const isWhole = this.stored.pieces.count === this.stored.pieceCount;
      const { signal } = this.#controller;
      const digest = isWhole
        ? await pool.digest(this.stored.path, 'sha256', { signal })
        : undefined;
      await this.#finish(this.stored.length ?? 0, digest);
    });
  }

  /** Signs digests that hosts stated while no supernode answered, once the caller has checked them. */
  async adopt(entries: ReadonlyMap<number, string>): Promise<void> {
    for (const [piece, digest] of entries) {
      if (!this.stored.isSigned(piece)) this.#unsigned.set(piece, digest);
    }
    await this.#sign();
  }

  /** Content small enough to travel in replies, base64. */
  async inlineContent(): Promise<string> {
    const chunks: Uint8Array[] = [];
    const range = { start: 0, end: this.stored.length ?? 0 };
    for await (const chunk of this.stored.read(range)) chunks.push(new Uint8Array(chunk));
    return Buffer.concat(chunks).toString('base64');
  }

  /** Stops fetching; what is stored stays. */
  async stop(): Promise<void> {
    this.#controller.abort(new CodedError('ERR_INTERRUPTED', 'the seed is stopping'));
    await this.settled;
  }

  #run(work: () => Promise<void>): void {
    const inUse = this.stored.acquire();
    work()
      .then(() => this.#end('complete'))
      .catch((error: unknown) => {
        this.#failure = CodedError.from(error);
        const { code, message } = this.#failure;
        this.#context.log.warn(
          { task: this.stored.taskId, code, reason: message },
          'seed fetch failed',
        );
        this.#end('failed');
      })
      .finally(() => inUse[Symbol.dispose]());
  }

  #end(state: 'complete' | 'failed'): void {
    this.#state = state;
    this.#settle();
    this.#context.listener.onSettled(this);
  }

  /** Lets the workers know the version as it is now. */
  async publish(): Promise<void> {
    await this.#context.pool.putTask(this.stored, { offered: this.offered });
    this.#context.pool.keepManifest(this.stored, this.stored.manifest(), true);
  }

  #nextRun(): { start: number; end: number } | undefined {
    const missing: number[] = [];
    for (let piece = 0; piece < (this.stored.pieceCount ?? 0); piece += 1) {
      if (this.stored.pieces.has(piece)) continue;
      // What a host has is of use only when its digest is signed.
      if (this.stored.isSigned(piece) && this.#context.isElsewhere(this.stored, piece)) continue;
      missing.push(piece);
    }
    return originRuns(missing, { maxRuns: 1, maxRunPieces: RUN_PIECES })[0];
  }

  async #fetchRun(run: { start: number; end: number }): Promise<void> {
    const { pool } = this.#context;
    const { signal } = this.#controller;
    const { pieceLength, length = 0 } = this.stored;
    const end = Math.min(run.end * pieceLength, length);
    const part = openerOf(this.spec).part(run.start * pieceLength, end);
    await using origin = await pool.openOrigin(
      { ...part, ifMatch: this.shape.validators },
      { signal },
    );
    const total = contentLength(this.spec, origin.head.length);
    if (total !== length) {
      throw new CodedError('ERR_ORIGIN_CHANGED', `the origin has ${total ?? 'unknown'} bytes now`);
    }
    await origin.pump(this.stored, {
      ...run,
      whole: false,
      signal,
      onPiece: (piece, digest, bytes) => this.#take(piece, digest, bytes),
    });
    await this.#sign();
  }

  #take(piece: number, digest: string, bytes: number): void {
    this.#originBytes += bytes;
    const known = this.stored.digestOf(piece);
    if (known !== undefined && this.stored.isSigned(piece) && known !== digest) {
      const message = `piece ${piece} differs from what was signed`;
      this.#controller.abort(new CodedError('ERR_ORIGIN_CHANGED', message));
      return;
    }
    this.#unsigned.set(piece, digest);
    this.#arrived.add(piece);
    this.#timer ??= this.#context.clock.after(SIGN_AFTER_MS, () => {
      this.#sign().catch((error: unknown) => this.#controller.abort(CodedError.from(error)));
    });
  }

  /** Signs what has gathered, journals it, and lets the swarm know: manifest first, then pieces. */
  async #sign(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    const fresh = new Map(this.#unsigned);
    const arrived = [...this.#arrived];
    this.#unsigned.clear();
    this.#arrived.clear();
    const before = this.#writes;
    this.#writes = before.then(async () => {
      await this.#record(fresh);
      await this.#markHad(arrived);
    });
    await this.#writes;
  }

  async #record(fresh: ReadonlyMap<number, string>): Promise<void> {
    if (fresh.size === 0) return;
    const { taskId, version, pieceLength } = this.stored;
    const batches: string[] = [];
    for (const { start, digests } of contiguousRuns(fresh)) {
      const subject = { task: taskId, version, pieceLength };
      const text = sealManifest('manifest', { ...subject, start, digests }, this.#context.key);
      const entries = digests.map((digest, offset) => ({ index: start + offset, digest }));
      await this.stored.addManifest(text, entries);
      batches.push(text);
    }
    this.#context.pool.keepManifest(this.stored, batches);
    this.#context.listener.onManifest(this, batches);
  }

  async #markHad(pieces: readonly number[]): Promise<void> {
    if (pieces.length === 0) return;
    await Promise.all(pieces.map(async (piece) => this.stored.markHad(piece)));
    this.#context.listener.onPieces(this, pieces);
  }

  async #finish(bytes: number, digest: string | undefined): Promise<void> {
    await this.#sign();
    const { stored, spec } = this;
    if (stored.length === undefined) await stored.setLength(bytes);
    const expected = spec.digest;
    if (digest !== undefined && expected?.startsWith('sha256:') === true && expected !== digest) {
      await this.#context.pool.dropTask(stored);
      await this.#context.store.remove(stored);
      throw new CodedError('ERR_DIGEST_MISMATCH', `the content is ${digest}, not ${expected}`, {
        detail: { expected, actual: digest },
      });
    }
    const final = this.#finalBatch(stored.length ?? bytes, digest);
    if (final !== undefined) {
      await stored.replaceManifest([final.text], final.entries);
      if (digest !== undefined) await stored.setWholeDigest(digest);
      this.#context.pool.keepManifest(stored, [final.text], true);
      this.#context.listener.onManifest(this, [final.text]);
    }
    if (stored.pieces.count === stored.pieceCount) await stored.complete();
    await this.publish();
  }

  #finalBatch(
    length: number,
    digest: string | undefined,
  ): { text: string; entries: { index: number; digest: string }[] } | undefined {
    const { taskId, version, pieceLength, pieceCount = 0 } = this.stored;
    const entries: { index: number; digest: string }[] = [];
    for (let index = 0; index < pieceCount; index += 1) {
      const known = this.stored.digestOf(index);
      if (known === undefined) return undefined;
      entries.push({ index, digest: known });
    }
    const digests = entries.map((entry) => entry.digest);
    const whole = digest === undefined ? {} : { digest };
    const subject = { task: taskId, version, pieceLength, start: 0, length };
    const text = sealManifest('manifest', { ...subject, digests, ...whole }, this.#context.key);
    return { text, entries };
  }
}
