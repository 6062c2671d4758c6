import type { Clock, Timer } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { Standing } from '../../core/base/standing.ts';
import type { HostKey } from '../../core/identity/host-key.ts';
import { TINY_BYTES } from '../../core/piece/piece-length.ts';
import { hasStrongEtag } from '../../core/piece/version.ts';
import type { PieceStore, StoredTask } from '../../core/store/piece-store.ts';
import { BodyRoom } from '../../core/swarm/body-room.ts';
import { sealFinal } from '../../core/swarm/final-manifest.ts';
import type { FinalManifest } from '../../core/swarm/final-manifest.ts';
import { contiguousRuns, sealManifest } from '../../core/swarm/manifest.ts';
import { contentLength, openerOf } from '../../core/swarm/origin-request.ts';
import { originRuns } from '../../core/swarm/split-origin.ts';
import { wholeDigest } from '../../core/swarm/task-shape.ts';
import type { RemoteOrigin } from '../../core/swarm/origin-bodies.ts';
import type { TransferPool } from '../../core/swarm/transfer-pool.ts';
import type { TaskShape, TaskSpec } from '../../core/wire/messages.ts';
import { SignedBatches } from './signed-batches.ts';

/** What a version in the seed tells the swarm. */
export interface SeedListener {
  /** The version was taken up; hosts may be downloading it already. */
  onBegun(seed: SeedTask): void;
  /** Signed batches that are new. */
  onManifest(seed: SeedTask, batches: readonly string[]): void;
  /** Pieces the seed can give now. */
  onPieces(seed: SeedTask, pieces: readonly number[]): void;
  onSettled(seed: SeedTask): void;
}

/** `partial`: it has what nobody else has, and hosts have the rest. */
export type SeedState = 'idle' | 'fetching' | 'partial' | 'complete' | 'failed';

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

/** What hosts know of a version that was begun before a restart. */
export interface ReturningHosts {
  /** Takes over digests that hosts told of so far. */
  adopt(): Promise<void>;
  /** Resolves when the hosts have told what they hold, or had time to. */
  back(signal: AbortSignal): Promise<void>;
}

/**
 * New digests are signed together for this part of the time since the first piece, within bounds: the first goes out at
 * once, and later every host is spared a signature to verify and a row to write for each piece.
 */
const SIGN_PART = 1 / 50;
const SIGN_AFTER_MS = { least: 5, most: 100 };
const RUN_PIECES = 64;

/** One version of a task in the seed: fetched once from the origin, signed, and offered as it arrives. */
export class SeedTask {
  readonly stored: StoredTask;
  readonly spec: TaskSpec;
  readonly shape: TaskShape;
  /** How important it is to those who want it: the origin is read in that order. */
  readonly standing: Standing;
  /** Shared with the workers: pieces that everybody may be told of. */
  readonly offered: Uint8Array;
  readonly #context: SeedContext;
  readonly #controller = new AbortController();
  readonly #batches: SignedBatches;
  /** Digests that wait to be signed. */
  readonly #unsigned = new Map<number, string>();
  /** Pieces on disk that wait for their digest to be signed. */
  readonly #arrived = new Set<number>();
  /** The last piece of content of unknown length, kept back until the length is known: it is asked for by its length. */
  #last: { readonly piece: number; readonly digest: string } | undefined;
  #settled = Promise.withResolvers<void>();
  #state: SeedState = 'idle';
  #failure: CodedError | undefined;
  #isContradicted = false;
  #checking: Promise<void> | undefined;
  #timer: Timer | undefined;
  /** When the first piece came. */
  #firstPieceMs: number | undefined;
  #writes: Promise<void> = Promise.resolve();
  #originBytes = 0;
  #isReading = false;

  constructor(
    context: SeedContext,
    version: {
      readonly stored: StoredTask;
      readonly spec: TaskSpec;
      readonly shape: TaskShape;
      /** Absent: as of who says nothing. */
      readonly standing?: Standing | undefined;
    },
  ) {
    this.#context = context;
    this.stored = version.stored;
    this.spec = version.spec;
    this.shape = version.shape;
    this.standing = version.standing ?? new Standing();
    this.offered = new Uint8Array(new SharedArrayBuffer(this.stored.pieces.bytes.length));
    this.#batches = new SignedBatches(this.stored, context.key);
  }

  get state(): SeedState {
    return this.#state;
  }

  get failure(): CodedError | undefined {
    return this.#failure;
  }

  /** Resolves when what runs now is at its end, well or not. */
  get settled(): Promise<void> {
    return this.#settled.promise;
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

  /** What the cell has signed of it. */
  manifest(): readonly string[] {
    return this.#batches.list();
  }

  /** Everything is here and signed from an earlier run. */
  async serveStored(): Promise<void> {
    this.offered.fill(0xff);
    await this.#publish();
    this.#context.listener.onBegun(this);
    this.#end('complete');
  }

  /** Streams an open answer of the origin, from its first byte on. */
  fetchWhole(origin: RemoteOrigin): void {
    this.#run(async () => {
      await using open = origin;
      await this.#publish();
      const { stored } = this;
      using room =
        stored.length === undefined ? new BodyRoom(this.#context.store, stored) : undefined;
      this.#isReading = true;
      const pumped = open.pump(stored, {
        room,
        start: 0,
        whole: true,
        signal: this.#controller.signal,
        onPiece: (piece, pieceDigest, size) => this.#take(piece, pieceDigest, size),
      });
      const { bytes, digest } = await pumped.finally(() => (this.#isReading = false));
      await this.#finish(bytes, digest);
    });
  }

  /**
   * After a restart: serves what is stored and, once hosts have come back, fetches what neither this store nor any of
   * them has, by ranges of the same version.
   */
  continueStored(hosts: ReturningHosts): void {
    this.#run(async () => {
      const { listener } = this.#context;
      await this.#publish();
      await this.#takeOver(hosts);
      listener.onBegun(this);
      listener.onPieces(this, [...this.stored.pieces.indexes()]);
      await this.#proveVersion();
      // A piece that a host is about to announce would seem to be nowhere.
      if (!this.isTiny) await hosts.back(this.#controller.signal);
      await this.#takeOver(hosts);
      await this.#fetchRest();
    });
  }

  /** Fetches what hosts had and nobody has any more. */
  refill(): void {
    if (this.#state !== 'partial' || this.#nextRun() === undefined) return;
    this.#run(async () => this.#fetchRest());
  }

  /** Hashes everything again, withdraws what is wrong, and fetches it anew; once for all who doubt it. */
  async recheck(): Promise<void> {
    this.#checking ??= this.#recheck().finally(() => (this.#checking = undefined));
    return this.#checking;
  }

  /** Another origin has shown that this is not what its digest says: nothing of it is kept. */
  async refute(): Promise<void> {
    const error = new CodedError('ERR_DIGEST_MISMATCH', 'another origin serves this digest');
    this.#isContradicted = true;
    this.#controller.abort(error);
    if (this.#state === 'fetching') await this.settled;
    else await this.#fail(error);
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
    if (this.#state === 'fetching') await this.settled;
  }

  #run(work: () => Promise<void>): void {
    const inUse = this.stored.acquire();
    if (this.#state !== 'idle') this.#settled = Promise.withResolvers();
    this.#state = 'fetching';
    work()
      .then(() => this.#end(this.#isWhole ? 'complete' : 'partial'))
      .catch(async (error: unknown) => this.#fail(error))
      .finally(() => inUse[Symbol.dispose]());
  }

  async #fail(error: unknown): Promise<void> {
    const { signal } = this.#controller;
    this.#failure = CodedError.from(signal.aborted ? signal.reason : error);
    const { code, message } = this.#failure;
    const { log } = this.#context;
    log.warn({ task: this.stored.taskId, code, reason: message }, 'seed fetch failed');
    // Whoever asks next begins with nothing, instead of failing at the same piece for ever.
    if (this.#isContradicted) {
      const { store } = this.#context;
      await store
        .remove(this.stored)
        .catch((cause: unknown) => log.warn({ err: cause }, 'not discarded'));
    }
    this.#end('failed');
  }

  #end(state: 'complete' | 'partial' | 'failed'): void {
    this.#state = state;
    this.#settled.resolve();
    this.#context.listener.onSettled(this);
  }

  get #isWhole(): boolean {
    return this.stored.pieces.count === this.stored.pieceCount;
  }

  /** Lets the workers know the version as it is now. */
  async #publish(): Promise<void> {
    const put = this.#context.pool.putTask(this.stored, { offered: this.offered });
    this.#context.pool.keepManifest(this.stored, this.manifest(), true);
    await put;
  }

  async #takeOver(hosts: ReturningHosts): Promise<void> {
    await hosts.adopt();
    this.#batches.reload();
    this.#context.pool.keepManifest(this.stored, this.manifest(), true);
    this.#context.listener.onManifest(this, this.manifest());
  }

  async #recheck(): Promise<void> {
    const { pool, log } = this.#context;
    const wrong = await this.stored.rehash();
    if (wrong.length > 0) {
      const facts = { task: this.stored.taskId, pieces: wrong.length };
      log.error(facts, 'stored pieces of the seed were altered; they are fetched again');
      for (const piece of wrong) {
        this.offered[piece >> 3] = (this.offered[piece >> 3] ?? 0) & ~(0x80 >> (piece & 7));
      }
      pool.retract(this.stored, wrong);
      if (this.#state === 'complete') this.#state = 'partial';
    } else if (this.stored.isComplete) await this.stored.complete();
    await this.#publish();
    // Children were refused while the file was in doubt, and think that nothing of it is here.
    pool.announce(this.stored, [...this.stored.pieces.indexes()]);
    this.refill();
  }

  async #fetchRest(): Promise<void> {
    for (let run = this.#nextRun(); run !== undefined; run = this.#nextRun())
      await this.#fetchRun(run);
    const { pool } = this.#context;
    const { signal } = this.#controller;
    const { path, length = 0 } = this.stored;
    await this.#finish(
      length,
      this.#isWhole ? await pool.digest(path, 'sha256', { signal }) : undefined,
    );
  }

  /** Without a strong ETag a version is the same only if a piece that was signed before still has its digest. */
  async #proveVersion(): Promise<void> {
    if (wholeDigest(this.spec) !== undefined || hasStrongEtag(this.shape.validators)) return;
    for (let piece = 0; piece < (this.stored.pieceCount ?? 0); piece += 1) {
      if (this.stored.isSigned(piece)) return this.#fetchRun({ start: piece, end: piece + 1 });
    }
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
    // Content with a name may come from another URL than before; its digest is checked at the end.
    const isNamed = wholeDigest(this.spec) !== undefined;
    const pin = isNamed ? {} : { ifMatch: this.shape.validators };
    await using origin = await pool.openOrigin(
      { ...part, ...pin },
      { signal, standing: this.standing },
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
    const { pieceLength, length } = this.stored;
    const known = this.stored.digestOf(piece);
    if (known !== undefined && this.stored.isSigned(piece) && known !== digest) {
      const message = `piece ${piece} differs from what was signed`;
      this.#isContradicted = true;
      this.#controller.abort(new CodedError('ERR_ORIGIN_CHANGED', message));
      return;
    }
    if (piece >= this.stored.pieces.length) {
      const message = `content of unknown length has more than ${this.stored.pieces.length} pieces`;
      this.#controller.abort(new CodedError('ERR_MANIFEST', message));
      return;
    }
    if (length === undefined && bytes < pieceLength) {
      this.#last = { piece, digest };
      return;
    }
    this.#unsigned.set(piece, digest);
    this.#arrived.add(piece);
    this.#timer ??= this.#context.clock.after(this.#signAfterMs(), () => {
      this.#sign().catch((error: unknown) => this.#controller.abort(CodedError.from(error)));
    });
  }

  #signAfterMs(): number {
    const now = this.#context.clock.monotonic();
    if (this.#firstPieceMs === undefined) {
      this.#firstPieceMs = now;
      return 0;
    }
    const { least, most } = SIGN_AFTER_MS;
    return Math.min(most, Math.max(least, (now - this.#firstPieceMs) * SIGN_PART));
  }

  /**
   * Signs what has gathered, journals it, and lets the swarm know: manifest first, then pieces. By then they can be
   * given, for a host that knows nobody else asks for what it has the digest of.
   */
  async #sign(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    const fresh = new Map(this.#unsigned);
    const arrived = [...this.#arrived];
    this.#unsigned.clear();
    this.#arrived.clear();
    const before = this.#writes;
    this.#writes = before.then(async () => {
      const batches = await this.#record(fresh);
      await this.#markHad(arrived);
      const { listener } = this.#context;
      if (batches.length > 0) listener.onManifest(this, batches);
      if (arrived.length > 0) listener.onPieces(this, arrived);
    });
    await this.#writes;
  }

  async #record(fresh: ReadonlyMap<number, string>): Promise<string[]> {
    if (fresh.size === 0) return [];
    const { taskId, version, pieceLength } = this.stored;
    const batches: string[] = [];
    for (const { start, digests } of contiguousRuns(fresh)) {
      const subject = { task: taskId, version, pieceLength };
      const text = sealManifest('manifest', { ...subject, start, digests }, this.#context.key);
      const entries = digests.map((digest, offset) => ({ index: start + offset, digest }));
      await this.stored.addManifest(text, entries);
      batches.push(text);
    }
    this.#batches.add(batches);
    this.#context.pool.keepManifest(this.stored, batches);
    return batches;
  }

  async #markHad(pieces: readonly number[]): Promise<void> {
    if (pieces.length === 0) return;
    using _room = await this.#context.store.grow(this.stored, pieces);
    await Promise.all(pieces.map(async (piece) => this.stored.markHad(piece)));
  }

  async #finish(bytes: number, digest: string | undefined): Promise<void> {
    const { stored } = this;
    if (stored.length === undefined) {
      await stored.setLength(bytes);
      await this.#publish();
    }
    if (this.#last !== undefined) {
      this.#unsigned.set(this.#last.piece, this.#last.digest);
      this.#arrived.add(this.#last.piece);
      this.#last = undefined;
    }
    await this.#sign();
    await this.#checkDigest(digest);
    const final = this.#finalManifest(stored.length ?? bytes, digest);
    if (final !== undefined) {
      await stored.replaceManifest(final.texts, final.entries, { wholeDigest: digest });
      this.#batches.reload();
      this.#context.listener.onManifest(this, final.texts);
    }
    if (this.#isWhole) await stored.complete();
    await this.#publish();
  }

  /** Content that is not what its digest says is not kept: it would stand in the way of what is. */
  async #checkDigest(sha256: string | undefined): Promise<void> {
    const expected = this.spec.digest;
    if (expected === undefined || !this.#isWhole) return;
    const algorithm = expected.slice(0, expected.indexOf(':'));
    const { pool } = this.#context;
    const { signal } = this.#controller;
    const isKnown = algorithm === 'sha256' && sha256 !== undefined;
    const actual = isKnown ? sha256 : await pool.digest(this.stored.path, algorithm, { signal });
    if (actual === expected) return;
    this.#isContradicted = true;
    throw new CodedError('ERR_DIGEST_MISMATCH', `the content is ${actual}, not ${expected}`, {
      detail: { expected, actual },
    });
  }

  /** Undefined while the digest of a piece is not known. */
  #finalManifest(length: number, digest: string | undefined): FinalManifest | undefined {
    const { taskId: task, version, pieceLength, pieceCount = 0 } = this.stored;
    const digests: string[] = [];
    for (let piece = 0; piece < pieceCount; piece += 1) {
      const known = this.stored.digestOf(piece);
      if (known === undefined) return undefined;
      digests.push(known);
    }
    const facts = { task, version, pieceLength, length };
    const whole = digest === undefined ? {} : { digest };
    return sealFinal({ ...facts, ...whole }, digests, this.#context.key);
  }
}
