import { CodedError } from '../base/error.ts';
import type { Standing } from '../base/standing.ts';
import { hasStrongEtag } from '../piece/version.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { TaskShape, TaskSpec } from '../wire/messages.ts';
import type { Ledger } from './ledger.ts';
import { BodyRoom } from './body-room.ts';
import { sealManifest } from './manifest.ts';
import { originRuns, ownOriginPieces } from './split-origin.ts';
import type { OriginRun } from './split-origin.ts';
import type { SwarmContext } from './swarm-context.ts';
import type { TaskRate } from './task-rate.ts';
import type { RemoteOrigin } from './origin-bodies.ts';
import { openerOf } from './origin-request.ts';

export interface OriginReaderOptions {
  readonly stored: StoredTask;
  readonly spec: TaskSpec;
  readonly shape: TaskShape;
  readonly ledger: Ledger;
  readonly signal: AbortSignal;
  /** The class of whoever wants it, which may be raised. */
  readonly standing: Standing;
  /** The task's own limit. */
  readonly rate: Pick<TaskRate, 'bytesPerSecond' | 'shared'>;
  /** The piece is written, journalled, and its digest stated by this host. */
  onPiece(piece: number, bytes: number): void;
  /** The origin cannot give the content, or it changed. */
  onFailure(error: CodedError): void;
  onIdle(): void;
  /** The origin's answer from the first byte on, body unread, to begin with. */
  readonly initial?: RemoteOrigin;
}

/** What of the task comes from elsewhere. */
export interface TakenPieces {
  /** It is asked of a linked host, or one has it. */
  readonly isTaken: (piece: number) => boolean;
  /** Something is asked of a linked host now. */
  readonly isAnyAsked: boolean;
  /** The pieces that readers in order lack first; absent: nobody reads. */
  readonly needed?: readonly number[];
}

/** Ranged requests to the origin at a time, for one task of one host. */
const MAX_RUNS = 4;
/** Pieces one shared run covers: short enough that a late supernode finds little doubled work. */
const SHARED_RUN_PIECES = 8;
/** A connection of its own pays from here on. */
const MIN_RUN_BYTES = 8 * 1024 * 1024;

/** What one host reads from the origin itself: its share when no supernode answers, or all of it. */
export class OriginReader {
  readonly #context: SwarmContext;
  readonly #options: OriginReaderOptions;
  readonly #reading = new Set<number>();
  /** One request brings everything, and which piece comes next is not known where the length is not. */
  #isReadingWhole = false;
  readonly #running = new Set<Promise<void>>();

  #initial: RemoteOrigin | undefined;

  constructor(context: SwarmContext, options: OriginReaderOptions) {
    this.#context = context;
    this.#options = options;
    this.#initial = options.initial;
  }

  get isBusy(): boolean {
    return this.#running.size > 0;
  }

  isReading(piece: number): boolean {
    return this.#isReadingWhole || this.#reading.has(piece);
  }

  /** Resolves when no request is running any more. */
  async idle(): Promise<void> {
    await this.#initial?.[Symbol.asyncDispose]();
    await Promise.allSettled(this.#running);
  }

  /** Fetches everything that is missing, over several connections where the origin has ranges. */
  readAll(taken: TakenPieces): void {
    const { stored, shape } = this.#options;
    if (this.#isReadingWhole) return;
    if (stored.length === undefined || shape.acceptsRanges !== true) {
      this.#readWhole(taken);
      return;
    }
    const missing = this.#missing(taken.isTaken);
    const free = this.#maxRuns() - this.#running.size;
    if (free <= 0 || missing.length === 0) return;
    const least = Math.ceil(MIN_RUN_BYTES / stored.pieceLength);
    if (taken.needed !== undefined && taken.needed.length > 0) {
      this.#readNeeded(taken, { needed: taken.needed, maxRunPieces: least });
      return;
    }
    const maxRunPieces = Math.max(least, Math.ceil(missing.length / free));
    for (const run of originRuns(missing, { maxRuns: free, maxRunPieces })) this.#start(run);
  }

  /** Fetches this host's share of what no linked host has. */
  readShare(
    swarm: TakenPieces & { readonly others: readonly string[]; readonly patience: number },
  ): void {
    const { stored, shape } = this.#options;
    if (this.#isReadingWhole) return;
    const self = this.#context.key.peerId;
    const others = shape.isPrivate === true ? [] : swarm.others;
    const hosts = { self, others, patience: swarm.patience };
    if (stored.length === undefined || shape.acceptsRanges !== true) {
      // Without ranges there is exactly one reader: whoever owns the first group.
      if (ownOriginPieces([0], hosts).length > 0) this.#readWhole(swarm);
      return;
    }
    const free = this.#maxRuns() - this.#running.size;
    if (free <= 0) return;
    const mine = ownOriginPieces(this.#missing(swarm.isTaken), hosts);
    const limits = { maxRuns: free, maxRunPieces: SHARED_RUN_PIECES };
    for (const run of originRuns(mine, limits)) this.#start(run);
  }

  /** Begins where readers wait; what follows there shares the path with it, and no more than that. */
  #readNeeded(
    { isTaken }: TakenPieces,
    { needed, maxRunPieces }: { readonly needed: readonly number[]; readonly maxRunPieces: number },
  ): void {
    const startAt = (first: number): void => {
      if (this.#running.size >= this.#maxRuns()) return;
      const missing = this.#missing(isTaken);
      const after = missing.filter((piece) => piece >= first);
      const [run] = originRuns(after.length > 0 ? after : missing, { maxRuns: 1, maxRunPieces });
      if (run !== undefined) this.#start(run);
    };
    for (const first of needed) if (!this.#reading.has(first)) startAt(first);
    for (const first of needed) if (this.#running.size < needed.length * 2) startAt(first);
  }

  /** A limited task uses one connection: its limit is kept by the one that reads. */
  #maxRuns(): number {
    return this.#options.rate.bytesPerSecond > 0 ? 1 : MAX_RUNS;
  }

  /** Two never write the same piece: it waits until nothing is asked of others, and then nothing is. */
  #readWhole({ isAnyAsked }: TakenPieces): void {
    if (!this.isBusy && !isAnyAsked) this.#start({ start: 0, end: Number.POSITIVE_INFINITY });
  }

  #missing(isElsewhere: (piece: number) => boolean): number[] {
    const { stored } = this.#options;
    const missing: number[] = [];
    for (let piece = 0; piece < (stored.pieceCount ?? 0); piece += 1) {
      if (stored.pieces.has(piece) || this.#reading.has(piece) || isElsewhere(piece)) continue;
      missing.push(piece);
    }
    return missing;
  }

  #start(run: OriginRun): void {
    const last = Math.min(run.end, this.#options.stored.pieceCount ?? 0);
    for (let piece = run.start; piece < last; piece += 1) this.#reading.add(piece);
    this.#isReadingWhole = run.end === Number.POSITIVE_INFINITY;
    const work = this.#read(run)
      .catch((error: unknown) => {
        if (!this.#options.signal.aborted) this.#options.onFailure(CodedError.from(error));
      })
      .finally(() => {
        for (let piece = run.start; piece < last; piece += 1) this.#reading.delete(piece);
        this.#isReadingWhole = false;
        this.#running.delete(work);
        this.#options.onIdle();
      });
    this.#running.add(work);
  }

  async #read(run: OriginRun): Promise<void> {
    const { stored, spec, shape, ledger, signal } = this.#options;
    const { store } = this.#context;
    ledger.source('origin', 'origin', new URL(spec.url).host);
    const isWhole = run.end === Number.POSITIVE_INFINITY;
    const isPinned = hasStrongEtag(shape.validators) || shape.validators.lastModified !== undefined;
    await using origin = await this.#open(run, isPinned);
    const pending: Promise<void>[] = [];
    const giveUp = new AbortController();
    using room = stored.length === undefined ? new BodyRoom(store, stored) : undefined;
    const { bytes } = await origin.pump(stored, {
      room,
      start: run.start,
      ...(isWhole ? {} : { end: run.end }),
      whole: false,
      rate: this.#options.rate.shared,
      signal: AbortSignal.any([signal, giveUp.signal]),
      onPiece: (piece, digest, size) => {
        const kept = this.#keep(piece, digest, size);
        // A failure ends the read here, and is thrown by the wait below.
        kept.catch((error: unknown) => giveUp.abort(CodedError.from(error)));
        pending.push(kept);
      },
    });
    await Promise.all(pending);
    if (isWhole && stored.length === undefined) await stored.setLength(bytes);
  }

  async #open(run: OriginRun, isPinned: boolean): Promise<RemoteOrigin> {
    const { stored, spec, shape, signal, standing } = this.#options;
    const opener = openerOf(spec);
    const pin = isPinned ? { ifMatch: shape.validators } : {};
    const initial = this.#initial;
    this.#initial = undefined;
    if (initial !== undefined && run.start === 0) return initial;
    await initial?.[Symbol.asyncDispose]();
    if (run.end !== Number.POSITIVE_INFINITY) {
      const to = Math.min(run.end * stored.pieceLength, stored.length ?? 0);
      const part = opener.part(run.start * stored.pieceLength, to);
      return this.#context.pool.openOrigin({ ...part, ...pin }, { signal, standing });
    }
    return this.#context.pool.openOrigin({ ...opener.whole(), ...pin }, { signal, standing });
  }

  /** States the digest of a piece read from the origin, for this host and those that trust it for now. */
  async #keep(piece: number, digest: string, bytes: number): Promise<void> {
    const { stored } = this.#options;
    const known = stored.digestOf(piece);
    if (known !== undefined && known !== digest) {
      throw new CodedError(
        'ERR_ORIGIN_CHANGED',
        `piece ${piece} differs from what the cell signed`,
      );
    }
    if (known === undefined) {
      const { taskId, version, pieceLength } = stored;
      const subject = { task: taskId, version, pieceLength };
      const batch = { ...subject, start: piece, digests: [digest] };
      const text = sealManifest('provisional', batch, this.#context.key);
      const entries = [{ index: piece, digest }];
      await stored.addProvisional(text, this.#context.key.peerId, entries);
      this.#context.pool.keepManifest(stored, [text]);
      this.#context.pool.offerManifest(stored, [text]);
    }
    if (stored.pieces.has(piece)) return this.#options.ledger.duplicated(bytes);
    using _room = await this.#context.store.grow(stored, [piece]);
    await stored.markHad(piece);
    this.#options.onPiece(piece, bytes);
  }
}
