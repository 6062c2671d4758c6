import { CodedError } from '../base/error.ts';
import { RateLimiter } from '../net/pacing.ts';
import { pieceRange } from '../piece/piece-length.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { Parent, TaskShape, TaskSpec } from '../wire/messages.ts';
import { Ledger } from './ledger.ts';
import { OriginReader } from './origin-reader.ts';
import { ParentLink } from './parent-link.ts';
import { pickPieces } from './pick-piece.ts';
import type { SwarmRegistration } from './registrar.ts';
import { addManifestBatch } from './task-manifest.ts';
import type { SwarmContext } from './swarm-context.ts';
import type { ManifestChange, ManifestJudge } from './task-manifest.ts';
import type { RemoteOrigin } from './transfer-pool.ts';
import { waitReason } from './wait-reason.ts';

/** Whether and how this host goes to the origin for the task. */
export type OriginPolicy =
  /** The seed does it. */
  | 'never'
  /** Only while no supernode answers, sharing the work with the linked hosts. */
  | 'when-orphaned'
  /** All of it, alone. */
  | 'alone';

export interface TaskPeerOptions {
  readonly stored: StoredTask;
  readonly shape: TaskShape;
  readonly spec: TaskSpec;
  readonly originPolicy: OriginPolicy;
  /** The origin's answer from the first byte on, body unread, when registering had to open it. */
  readonly initial?: RemoteOrigin;
}

/** Requests to parents in flight for one task. */
const MAX_IN_FLIGHT = 32;
/** News of twenty parents come thick and fast; looking at all of it at once costs little, at each a lot. */
const MIN_TICK_MS = 2;
/** How often the state is looked at when nothing happens. */
const IDLE_TICK_MS = 250;
/** Without progress for this long, other parents are asked for. */
const STUCK_MS = 5_000;
/** A supernode that is away for less is not missed. */
const ORPHAN_AFTER_MS = 1_500;

/** This host's part in one version of a task, while somebody here wants it complete. */
export class TaskPeer {
  readonly stored: StoredTask;
  readonly spec: TaskSpec;
  readonly ledger: Ledger;
  readonly #context: SwarmContext;
  readonly #shape: TaskShape;
  readonly #parents = new Map<string, ParentLink>();
  /** Pieces that were asked for: of whom, and how to take that back. */
  readonly #inFlight = new Map<number, { readonly peer: string; take(): void }>();
  /** Pieces that are missing and whose digest is known. */
  readonly #wanted = new Set<number>();
  readonly #controller = new AbortController();
  readonly #origin: OriginReader;
  readonly #listeners = new Set<() => void>();
  readonly #limiter: RateLimiter;
  #isRated = false;
  #ticket = '';
  #isOver = false;
  #policy: OriginPolicy;
  #failure: CodedError | undefined;
  #wake: (() => void) | undefined;
  #tickedMs = Number.NEGATIVE_INFINITY;
  #lastProgressMs: number;
  #lastAskMs: number;
  #orphanSinceMs: number | undefined;
  #manifestQueue: Promise<void> = Promise.resolve();

  constructor(context: SwarmContext, options: TaskPeerOptions) {
    this.#context = context;
    this.stored = options.stored;
    this.spec = options.spec;
    this.#shape = options.shape;
    this.#policy = options.originPolicy;
    this.ledger = new Ledger(context.clock);
    this.#limiter = new RateLimiter(0, context.clock);
    this.#lastProgressMs = context.clock.monotonic();
    this.#lastAskMs = this.#lastProgressMs;
    for (const piece of this.stored.missingWithDigest()) this.#wanted.add(piece);
    this.#origin = new OriginReader(context, {
      stored: this.stored,
      spec: options.spec,
      shape: options.shape,
      ledger: this.ledger,
      signal: this.#controller.signal,
      bytesPerSecond: () => this.#limiter.bytesPerSecond,
      onPiece: (piece, bytes) => this.#had(piece, 'origin', bytes),
      onFailure: (error) => this.fail(error),
      onIdle: () => this.#poke(),
      ...(options.initial === undefined ? {} : { initial: options.initial }),
    });
  }

  get shape(): TaskShape {
    return this.#shape;
  }

  /** True once it fails or has everything: it takes nobody else in. */
  get isEnding(): boolean {
    return this.#isOver || this.#failure !== undefined;
  }

  /** Takes over what one more download of the version brings. */
  take(registration: SwarmRegistration): void {
    const { limitRate, ticket, parents, manifest, policy } = registration;
    this.allowRate(limitRate);
    if (ticket !== '') this.setTicket(ticket);
    this.addParents(parents);
    this.addManifest(manifest, 'supernode');
    if (policy === 'alone') this.goAlone();
  }

  /** Pieces that were had are not any more: they are fetched again. */
  lost(pieces: readonly number[]): void {
    for (const piece of pieces) {
      if (this.stored.digestOf(piece) !== undefined) this.#wanted.add(piece);
    }
    this.#poke();
  }

  /** Called after each verified piece and state change; the returned function stops it. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Ends the task with an error for everybody who waits for it. */
  fail(error: CodedError): void {
    this.#failure ??= error;
    this.#poke();
  }

  setTicket(ticket: string): void {
    this.#ticket = ticket;
    for (const parent of this.#parents.values()) parent.renew(ticket);
  }

  /** Payload per second for this task, 0 for no limit; of several wishes the most generous counts. */
  allowRate(bytesPerSecond: number): void {
    const current = this.#limiter.bytesPerSecond;
    const isFree = bytesPerSecond === 0 || (current === 0 && this.#isRated);
    this.#isRated = true;
    this.#limiter.setRate(isFree ? 0 : Math.max(current, bytesPerSecond));
  }

  /** From now on everything missing is fetched from the origin by this host. */
  goAlone(): void {
    this.#policy = 'alone';
    this.#poke();
  }

  addParents(parents: readonly Parent[]): void {
    const { pool, clock, random, key } = this.#context;
    for (const parent of parents) {
      if (parent.peer === key.peerId) continue;
      const known = this.#parents.get(parent.peer);
      if (known !== undefined) {
        known.addresses = parent.addresses;
        continue;
      }
      this.ledger.source(parent.peer, parent.role, parent.addresses[0]);
      const { signal } = this.#controller;
      const link = new ParentLink(
        parent,
        { pool, task: this.stored, clock, random, signal, ticket: () => this.#ticket },
        {
          onChange: () => this.#poke(),
          onHave: () => undefined,
          onManifest: (batches, peer) => this.addManifest(batches, peer),
        },
      );
      this.#parents.set(parent.peer, link);
    }
    this.#poke();
  }

  /** Takes manifest batches in the order they came; a bad one is logged with its sender and passed over. */
  addManifest(batches: readonly string[], sender: string): void {
    this.#manifestQueue = this.#manifestQueue.then(async () => {
      const fresh: string[] = [];
      for (const batch of batches) {
        try {
          const change = await addManifestBatch(this.stored, batch, this.#judge());
          if (change.pieces.length === 0) continue;
          fresh.push(batch);
          this.#restated(change);
        } catch (error) {
          const { code, message } = CodedError.from(error);
          this.#context.log.warn({ peer: sender, code, reason: message }, 'manifest batch refused');
          this.ledger.note(`manifest batch from ${sender} refused: ${message}`);
        }
      }
      if (fresh.length > 0) this.#manifestGrew(fresh);
    });
  }

  /** Runs until every piece is here; throws what makes that impossible. */
  async run(): Promise<void> {
    try {
      while (!this.isComplete) {
        if (this.#failure !== undefined) throw this.#failure;
        this.#tick();
        await this.#change();
        // What comes last may restate digests, and then it is not complete after all.
        if (this.isComplete) await this.#manifestQueue;
      }
      this.#isOver = true;
      await this.stored.complete();
      await this.#context.pool.putTask(this.stored);
    } finally {
      this.#isOver = true;
      this.ledger.wait(undefined);
      this.#controller.abort(new CodedError('ERR_INTERRUPTED', 'the task is done'));
      await Promise.all([...this.#parents.values()].map(async (parent) => parent.close()));
      await this.#origin.idle();
    }
  }

  get isComplete(): boolean {
    return (
      this.stored.pieceCount !== undefined && this.stored.pieces.count >= this.stored.pieceCount
    );
  }

  #judge(): ManifestJudge {
    const { verifySupernode, isSupervised, key } = this.#context;
    return {
      verifySupernode,
      acceptsProvisional: (signer) => {
        if (signer === key.peerId) return true;
        if (isSupervised() || this.#shape.isPrivate === true) return false;
        return this.#parents.get(signer)?.isBanned === false;
      },
    };
  }

  #manifestGrew(fresh: readonly string[]): void {
    const { pool } = this.#context;
    // The final batch stands for all others; before it, only what is new is passed on.
    const isFinal = this.stored.isManifestFinal;
    pool.keepManifest(this.stored, isFinal ? this.stored.manifest() : fresh, isFinal);
    // With no supernode to tell everybody, each host passes on what is new to it.
    if (!this.#context.isSupervised()) pool.offerManifest(this.stored, fresh);
    this.#notify();
    this.#poke();
  }

  #tick(): void {
    const now = this.#context.clock.monotonic();
    this.#tickedMs = now;
    this.#noteSupervision(now);
    for (const parent of this.#parents.values()) {
      parent.ensureOpen();
      parent.watch(() => this.#stalled(parent));
      if (parent.isStalled && parent.inFlight > 0) this.#relieve(parent);
    }
    if (this.#policy !== 'alone') this.#askPeers();
    this.#askOrigin(now);
    this.#noteWait();
    const isStuck = now - Math.max(this.#lastProgressMs, this.#lastAskMs) > STUCK_MS;
    if (isStuck && this.#context.isSupervised() && this.#policy !== 'alone') {
      this.#lastAskMs = now;
      this.#context.askParents(this.stored, this.ledger.waiting?.reason ?? 'no progress');
    }
  }

  #noteSupervision(now: number): void {
    if (this.#context.isSupervised()) {
      this.#orphanSinceMs = undefined;
      return;
    }
    if (this.#orphanSinceMs !== undefined || this.#policy === 'alone') return;
    this.#orphanSinceMs = now;
    this.ledger.note('the supernode went away; going on with the hosts that are linked');
    for (const parent of this.#parents.values()) parent.askManifest();
  }

  #askPeers(): void {
    const budget = MAX_IN_FLIGHT - this.#inFlight.size;
    const open = this.#openParents();
    if (budget <= 0 || open.every((parent) => parent.freeSlots === 0)) return;
    const wanted = this.#askable();
    if (wanted.length === 0) return;
    // Who stalls is asked when nobody else is left.
    const parents = open.filter((parent) => !parent.isStalled);
    const state = { wanted, parents, budget, random: this.#context.random };
    const frugal = pickPieces(state);
    const isIdle = frugal.length === 0 && this.#inFlight.size === 0;
    const picks = isIdle ? pickPieces({ ...state, parents: open, isSeedFree: true }) : frugal;
    for (const { peer, piece } of picks) {
      const parent = this.#parents.get(peer);
      if (parent !== undefined) void this.#fetch(parent, piece);
    }
  }

  /** Who is closed or banned does not count as a holder either. */
  #openParents(): ParentLink[] {
    return [...this.#parents.values()].filter((parent) => parent.isOpen && !parent.isBanned);
  }

  /** Missing pieces with a known digest that nobody was asked for. */
  #askable(): number[] {
    const askable: number[] = [];
    for (const piece of this.#wanted) {
      if (!this.#inFlight.has(piece) && !this.#origin.isReading(piece)) askable.push(piece);
    }
    return askable;
  }

  #askOrigin(now: number): void {
    if (this.#policy === 'alone') this.#origin.readAll();
    if (this.#policy !== 'when-orphaned' || this.#orphanSinceMs === undefined) return;
    if (now - this.#orphanSinceMs < ORPHAN_AFTER_MS) return;
    const others = this.#openParents().filter((one) => !one.isStalled && one.role === 'peer');
    this.#origin.readShare({
      others: others.map((parent) => parent.peer),
      patience: Math.floor((now - Math.max(this.#lastProgressMs, this.#orphanSinceMs)) / STUCK_MS),
      isElsewhere: (piece) =>
        this.#inFlight.has(piece) || others.some((parent) => parent.has(piece)),
    });
  }

  async #fetch(parent: ParentLink, index: number): Promise<void> {
    const digest = this.stored.digestOf(index);
    const { length, pieceLength } = this.stored;
    if (digest === undefined) return;
    const range = length === undefined ? undefined : pieceRange(index, { length, pieceLength });
    const bytes = range === undefined ? pieceLength : range.end - range.start;
    const taken = new AbortController();
    const signal = AbortSignal.any([this.#controller.signal, taken.signal]);
    this.#inFlight.set(index, { peer: parent.peer, take: () => taken.abort() });
    parent.inFlight += 1;
    try {
      await this.#limiter.take(bytes, { signal });
      await this.#context.downloadLimiter.take(bytes, { signal });
      const fetched = await parent.fetch({ index, length: bytes, digest }, { signal });
      if (this.stored.digestOf(index) !== digest) return;
      await this.stored.markHad(index);
      this.#had(index, parent.peer, fetched.bytes);
    } catch (error) {
      if (!signal.aborted) this.#fetchFailed(parent, index, CodedError.from(error));
    } finally {
      this.#inFlight.delete(index);
      parent.inFlight -= 1;
      this.#poke();
    }
  }

  #stalled(parent: ParentLink): void {
    const { peer, address } = parent;
    this.ledger.failure(peer);
    this.ledger.note(`${peer} at ${address ?? 'unknown'} brings nothing although it is asked`);
    const piece = [...this.#inFlight].find(([, request]) => request.peer === peer)?.[0] ?? 0;
    this.#context.reporter.failure(this.stored, { parent: peer, piece, code: 'ERR_TIMEOUT' });
    this.#poke();
  }

  /** Takes pieces from a parent that stalls, as far as they can be had elsewhere. */
  #relieve(stalled: ParentLink): void {
    const others = this.#openParents().filter((parent) => !parent.isStalled);
    const mayRead = this.#policy === 'when-orphaned' && this.#orphanSinceMs !== undefined;
    for (const [piece, request] of this.#inFlight) {
      if (request.peer !== stalled.peer) continue;
      if (mayRead || others.some((parent) => parent.has(piece))) request.take();
    }
  }

  #fetchFailed(parent: ParentLink, index: number, error: CodedError): void {
    const { log, reporter } = this.#context;
    const facts = { task: this.stored.taskId, piece: index, peer: parent.peer, code: error.code };
    switch (error.code) {
      case 'ERR_PIECE_DIGEST':
        parent.sentWrong();
        this.ledger.wrongPiece(parent.peer);
        this.ledger.note(
          `wrong piece ${index} from ${parent.peer} at ${parent.address ?? 'unknown'}`,
        );
        log.warn(
          { ...facts, address: parent.address },
          'wrong piece, its sender is dropped for this task',
        );
        reporter.failure(this.stored, { parent: parent.peer, piece: index, code: error.code });
        break;
      case 'ERR_BUSY':
        parent.busyFor(
          typeof error.detail['retryAfterMs'] === 'number' ? error.detail['retryAfterMs'] : 100,
        );
        break;
      case 'ERR_NO_SPACE':
        void this.#makeRoom(error);
        break;
      case 'ERR_NOT_FOUND':
        parent.lacks(index);
        break;
      default:
        parent.lacks(index);
        this.ledger.failure(parent.peer);
        log.debug({ ...facts, reason: error.message }, 'piece not received');
        reporter.failure(this.stored, { parent: parent.peer, piece: index, code: error.code });
    }
  }

  async #makeRoom(error: CodedError): Promise<void> {
    const isRoom = await this.#context.store.makeRoom(this.stored.pieceLength).catch(() => false);
    if (!isRoom) this.fail(error);
  }

  #had(piece: number, source: string, bytes: number): void {
    this.ledger.piece(source, bytes);
    this.#wanted.delete(piece);
    this.#lastProgressMs = this.#context.clock.monotonic();
    this.ledger.wait(undefined);
    this.#context.pool.announce(this.stored, [piece]);
    this.#context.reporter.had(this.stored, piece);
    this.#notify();
    this.#poke();
  }

  /** Digests became known: pieces had under another digest are lost, the others may be asked for. */
  #restated({ dropped, pieces }: ManifestChange): void {
    for (const piece of dropped) {
      this.#context.reporter.lost(this.stored, piece);
      this.ledger.note(`the digest of piece ${piece} was stated wrong; it is fetched again`);
    }
    if (dropped.length > 0) this.#context.pool.retract(this.stored, dropped);
    for (const piece of pieces) if (!this.stored.pieces.has(piece)) this.#wanted.add(piece);
  }

  /** Says why nothing moves, when nothing moves. */
  #noteWait(): void {
    const parents = [...this.#parents.values()];
    const isServed = parents.some((parent) => parent.inFlight > 0 && !parent.isStalled);
    if (isServed || this.#origin.isBusy) return this.ledger.wait(undefined);
    const isSupervised = this.#context.isSupervised();
    const [isAsked, isWanted] = [this.#inFlight.size > 0, this.#wanted.size > 0];
    this.ledger.wait(waitReason({ parents, isSupervised, isAsked, isWanted }));
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }

  #poke(): void {
    this.#wake?.();
  }

  async #change(): Promise<void> {
    if (this.isComplete || this.#failure !== undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const timer = this.#context.clock.after(IDLE_TICK_MS, resolve);
    await promise;
    timer.cancel();
    this.#wake = undefined;
    const { clock } = this.#context;
    const restMs = this.#tickedMs + MIN_TICK_MS - clock.monotonic();
    if (restMs > 0) await clock.sleep(restMs);
  }
}
