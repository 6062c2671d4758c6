import { CodedError } from '../base/error.ts';
import type { Priority } from '../base/priority.ts';
import { Standing } from '../base/standing.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { Parent, TaskShape, TaskSpec } from '../wire/messages.ts';
import { Ledger } from './ledger.ts';
import { ManifestIntake } from './manifest-intake.ts';
import { OriginReader } from './origin-reader.ts';
import { OriginTurn } from './origin-turn.ts';
import type { OriginPolicy } from './origin-turn.ts';
import { ParentFailures } from './parent-failures.ts';
import type { ParentLink } from './parent-link.ts';
import { ParentLinks } from './parent-links.ts';
import { PieceRequests } from './piece-requests.ts';
import { PieceTaker } from './piece-taker.ts';
import type { SwarmRegistration } from './registrar.ts';
import { SourceSeeker } from './source-seeker.ts';
import type { SwarmContext } from './swarm-context.ts';
import type { ManifestChange, ManifestJudge } from './task-manifest.ts';
import { keyOf } from './task-key.ts';
import type { RemoteOrigin } from './origin-bodies.ts';
import { RoomMaker } from './room-maker.ts';
import { TaskPulse } from './task-pulse.ts';
import { TaskRate } from './task-rate.ts';
import { TaskReaders } from './task-readers.ts';
import { waitReason } from './wait-reason.ts';

export interface TaskPeerOptions {
  readonly stored: StoredTask;
  readonly shape: TaskShape;
  readonly spec: TaskSpec;
  readonly originPolicy: OriginPolicy;
  readonly priority: Priority;
  /** The origin's answer from the first byte on, body unread, when registering had to open it. */
  readonly initial?: RemoteOrigin;
  /** Who joins first will read in order, from this byte on. */
  readonly readFrom?: number;
}

/** The last batch of the manifest, and with it the digest of the whole, is waited for when every piece is here. */
const LAST_BATCH_MS = 3_000;
/** Without progress for this long, other parents are asked for. */
const STUCK_MS = 5_000;

/** This host's part in one version of a task, while somebody here wants it complete. */
export class TaskPeer {
  readonly stored: StoredTask;
  readonly spec: TaskSpec;
  readonly shape: TaskShape;
  readonly ledger: Ledger;
  /** Who reads it in order while it comes in. */
  readonly readers: TaskReaders;
  readonly #context: SwarmContext;
  readonly #parents: ParentLinks;
  readonly #requests: PieceRequests;
  readonly #controller = new AbortController();
  readonly #origin: OriginReader;
  readonly #turn: OriginTurn;
  readonly #intake: ManifestIntake;
  readonly rate: TaskRate;
  readonly #room: RoomMaker;
  readonly #pulse: TaskPulse;
  /** That of the most important download that has joined so far. */
  readonly #standing: Standing;
  #ticket = '';
  #isOver = false;
  #contradiction: CodedError | undefined;
  #failure: CodedError | undefined;
  #lastProgressMs: number;
  #lastAskMs: number;
  /** When somebody was last seen to bring something. */
  #servedMs: number;
  readonly #seeker: SourceSeeker;
  readonly #failures: ParentFailures;

  constructor(context: SwarmContext, options: TaskPeerOptions) {
    this.#context = context;
    this.stored = options.stored;
    this.spec = options.spec;
    this.shape = options.shape;
    // What was asked of the origin already goes on as what it was asked as, or more.
    this.#standing = options.initial?.standing ?? new Standing(options.priority);
    this.#standing.raise(options.priority);
    this.ledger = new Ledger(context.clock);
    this.readers = new TaskReaders(this.stored, context.clock);
    if (options.readFrom !== undefined) this.readers.expect(options.readFrom);
    this.rate = new TaskRate(context.clock);
    this.#pulse = new TaskPulse(context.clock);
    this.#room = new RoomMaker(context.store, this.stored);
    this.#lastProgressMs = context.clock.monotonic();
    this.#lastAskMs = this.#lastProgressMs;
    this.#servedMs = this.#lastProgressMs;
    this.#seeker = new SourceSeeker(context);
    this.#failures = new ParentFailures({ ...context, stored: this.stored, ledger: this.ledger });
    const taker = this.#newTaker();
    this.#requests = new PieceRequests({
      ...context,
      stored: this.stored,
      signal: this.#controller.signal,
      parent: (peer) => this.#parents.get(peer),
      isReading: (piece) => this.#origin.isReading(piece),
      isHeldBack: () => this.#isHeldBack,
      take: async (...asked) => taker.take(...asked).finally(() => this.#pulse.poke()),
    });
    this.#parents = this.#newParents();
    this.#origin = this.#newOrigin(options);
    this.#turn = new OriginTurn(this.#origin, { ...context, policy: options.originPolicy });
    this.#intake = new ManifestIntake({
      stored: this.stored,
      judge: this.#judge(),
      ledger: this.ledger,
      log: context.log,
      onChange: (change) => this.#restated(change),
      onGrown: (fresh, { isFirstLength }) => this.#manifestGrew(fresh, isFirstLength),
      makeRoom: async (error) => this.#makeRoom(error),
      onBroken: (error) => {
        if (error.code === 'ERR_ORIGIN_CHANGED') this.#contradiction ??= error;
        this.fail(error);
      },
    });
  }

  /** True once it fails or has everything: it takes nobody else in. */
  get isEnding(): boolean {
    return this.#isOver || this.#failure !== undefined;
  }

  /** Hosts that are linked as parents now. */
  get parents(): readonly string[] {
    const hosts = this.#parents.open().filter(({ role }) => role === 'peer');
    return hosts.map(({ peer }) => peer);
  }

  /**
   * What the cell said when it restated what it had signed of this very version, or found that it is not what its
   * digest says: nothing of it can be kept.
   */
  get contradiction(): CodedError | undefined {
    const isRefuted = this.#failure?.code === 'ERR_DIGEST_MISMATCH';
    return this.#contradiction ?? (isRefuted ? this.#failure : undefined);
  }

  /** Takes over what one more download of the version brings. */
  take(registration: SwarmRegistration): void {
    const { limitRate, ticket, parents, manifest, policy, priority } = registration;
    this.#standing.raise(priority);
    this.rate.allow(limitRate);
    if (ticket !== '') this.setTicket(ticket);
    this.addParents(parents);
    this.addManifest(manifest, 'supernode');
    if (policy === 'alone') this.goAlone();
  }

  /** Pieces that were had are not any more: they are fetched again. */
  lost(pieces: readonly number[]): void {
    for (const piece of pieces) this.ledger.lost(piece);
    this.readers.lost();
    this.#requests.want(pieces);
    this.#pulse.poke();
  }

  /** Ends the task with an error for everybody who waits for it. */
  fail(error: CodedError): void {
    this.#failure ??= error;
    this.#pulse.poke();
  }

  setTicket(ticket: string): void {
    this.#ticket = ticket;
    for (const parent of this.#parents.all()) parent.renew(ticket);
  }

  /** From now on everything missing is fetched from the origin by this host. */
  goAlone(): void {
    this.#turn.goAlone();
    this.#pulse.poke();
  }

  /** False when going back to the source was forbidden. */
  get mayGoAlone(): boolean {
    return this.#turn.mayGoAlone;
  }

  addParents(parents: readonly Parent[]): void {
    for (const parent of parents) {
      if (parent.peer === this.#context.key.peerId) continue;
      this.ledger.source(parent.peer, parent.role, parent.addresses[0]);
      this.#parents.add(parent);
    }
    this.#pulse.poke();
  }

  /** Takes manifest batches in the order they came; a bad one is logged with its sender and passed over. */
  addManifest(batches: readonly string[], sender: string): void {
    this.#intake.add(batches, sender);
  }

  /** Runs until every piece is here; throws what makes that impossible. */
  async run(): Promise<void> {
    try {
      while (!this.isComplete) {
        if (this.#failure !== undefined) throw this.#failure;
        this.#tick();
        if (!this.isComplete && this.#failure === undefined) await this.#pulse.next();
        if (this.isComplete) await this.#settle();
      }
      this.#isOver = true;
      await this.stored.complete();
      await this.#context.pool.putTask(this.stored);
    } finally {
      this.#isOver = true;
      this.ledger.wait(undefined);
      this.#controller.abort(new CodedError('ERR_INTERRUPTED', 'the task is done'));
      await this.#parents.close();
      await this.#origin.idle();
    }
  }

  get isComplete(): boolean {
    return (
      this.stored.pieceCount !== undefined && this.stored.pieces.count >= this.stored.pieceCount
    );
  }

  /** What comes last may restate digests, and then it is not complete after all; it also tells the digest of the whole. */
  async #settle(): Promise<void> {
    const { clock, isSupervised } = this.#context;
    const untilMs = clock.monotonic() + LAST_BATCH_MS;
    this.ledger.wait(undefined);
    await this.#intake.idle();
    while (this.isComplete && !this.stored.isManifestFinal && clock.monotonic() < untilMs) {
      if (!isSupervised() || this.#turn.isAlone || this.#failure !== undefined) return;
      await this.#pulse.next();
      await this.#intake.idle();
    }
  }

  #newParents(): ParentLinks {
    const context = this.#context;
    return new ParentLinks(
      {
        ...context,
        task: this.stored,
        signal: this.#controller.signal,
        rate: this.rate.shared,
        farRate: (otherIdc) => context.farTurns?.rate(otherIdc),
        ticket: () => this.#ticket,
        wantsManifest: () => !context.isSupervised(),
      },
      {
        onChange: () => this.#pulse.poke(),
        onOpened: (parent, pieces) => this.#requests.opened(parent, pieces),
        onClosed: (parent) => this.#requests.closed(parent),
        onNews: (parent, news) => {
          this.#requests.heard(parent, news);
          this.#pulse.poke();
        },
        onLacks: (parent, piece) => this.#requests.lacks(parent, piece),
        onForgiven: (parent, piece) => this.#requests.has(parent, piece),
        onManifest: (batches, peer) => this.addManifest(batches, peer),
        onWasted: (bytes) => this.ledger.duplicated(bytes),
      },
    );
  }

  #newOrigin(options: TaskPeerOptions): OriginReader {
    return new OriginReader(this.#context, {
      stored: this.stored,
      spec: options.spec,
      shape: options.shape,
      ledger: this.ledger,
      signal: this.#controller.signal,
      rate: this.rate,
      standing: this.#standing,
      onPiece: (piece, bytes) => this.#had(piece, 'origin', bytes),
      onFailure: (error) => this.#originFailed(error),
      onIdle: () => {
        this.#requests.wantMissing();
        this.readers.news();
        this.#pulse.poke();
      },
      ...(options.initial === undefined ? {} : { initial: options.initial }),
    });
  }

  #newTaker(): PieceTaker {
    return new PieceTaker(this.#context, {
      stored: this.stored,
      ledger: this.ledger,
      rate: this.rate,
      signal: this.#controller.signal,
      account: () => ({ priority: this.#standing.priority, flow: keyOf(this.stored) }),
      came: async (peer, piece, ms) => this.#requests.came(peer, piece, ms),
      isReadEarly: (piece) => this.readers.isEarly(piece),
      onCame: (piece, bytes) => this.readers.came(piece, bytes),
      onHad: (piece, peer, bytes) => this.#had(piece, peer, bytes),
      onFailed: (parent, piece, error) => {
        if (!this.isEnding) this.#failures.failed(parent, piece, error);
      },
      onNoSpace: (error) => void this.#makeRoom(error),
      onBroken: (error) => this.fail(error),
    });
  }

  #judge(): ManifestJudge {
    const { verifySupernode, isSupervised, key } = this.#context;
    return {
      verifySupernode,
      acceptsProvisional: (signer) => {
        if (signer === key.peerId) return true;
        if (isSupervised() || this.shape.isPrivate === true) return false;
        return this.#parents.get(signer)?.isBanned === false;
      },
    };
  }

  #forgive(): void {
    for (const parent of this.#parents.all()) parent.forgive();
  }

  #manifestGrew(fresh: readonly string[], isFirstLength: boolean): void {
    const { pool } = this.#context;
    // A last piece that was asked for before its length was known was refused.
    if (isFirstLength) this.#forgive();
    // The final batch stands for all others; before it, only what is new is passed on.
    const isFinal = this.stored.isManifestFinal;
    pool.keepManifest(this.stored, isFinal ? this.stored.manifest() : fresh, isFinal);
    // With no supernode to tell everybody, each host passes on what is new to it.
    if (!this.#context.isSupervised()) pool.offerManifest(this.stored, fresh);
    this.readers.news();
    this.#pulse.poke();
  }

  #tick(): void {
    const now = this.#context.clock.monotonic();
    this.#pulse.tick();
    this.#noteSupervision();
    const askedBytes = this.#requests.count * this.stored.pieceLength;
    for (const parent of this.#parents.all()) {
      parent.ensureOpen();
      parent.watch(askedBytes, () => this.#stalled(parent));
      if (parent.isStalled && parent.inFlight > 0) this.#relieve(parent);
    }
    if (!this.#turn.isAlone) this.#requests.ask(this.#parents.all(), this.readers.windows());
    this.#askOrigin();
    this.#noteWait();
    const isStuck = now - Math.max(this.#lastProgressMs, this.#lastAskMs) > STUCK_MS;
    if (isStuck && !this.#isHeldBack) this.#unstick(now);
    if (this.#seeker.isDue(Math.max(this.#lastProgressMs, this.#servedMs))) void this.#seekSource();
  }

  /** Limits of this host are what is waited for. */
  get #isHeldBack(): boolean {
    return this.rate.isHolding || isHolding(this.#context);
  }

  #unstick(now: number): void {
    this.#lastAskMs = now;
    this.#forgive();
    if (this.#context.isSupervised() && !this.#turn.isAlone) {
      this.#context.askParents(this.stored, this.ledger.waiting?.reason ?? 'no progress');
    }
  }

  /** The seed has more than this host can get: the supernode may let it fetch that from the origin. */
  async #seekSource(): Promise<void> {
    const { isSupervised, askSource } = this.#context;
    // Of what the seed does not have yet the origin is asked already.
    if (!this.#requests.isAnyWanted || this.#turn.isAlone) return;
    if (!this.#turn.mayGoAlone || !isSupervised()) return;
    const reason = `nothing comes, waiting for ${this.ledger.waiting?.reason ?? 'parents'}`;
    if (!(await this.#seeker.seek(async () => askSource(this.stored, reason)))) return;
    this.ledger.note(`the supernode lets this host go to the origin: ${reason}`);
    this.goAlone();
  }

  #noteSupervision(): void {
    if (!this.#turn.supervise(this.#context.isSupervised())) return;
    this.ledger.note('the supernode went away; going on with the hosts that are linked');
    for (const parent of this.#parents.all()) parent.askManifest();
  }

  #askOrigin(): void {
    this.#turn.take({
      peers: this.#parents.open().filter((one) => !one.isStalled && one.role === 'peer'),
      lastProgressMs: this.#lastProgressMs,
      isKnown: (piece) => this.stored.digestOf(piece) !== undefined,
      isTaken: (piece) => this.#requests.isAsked(piece),
      isAnyAsked: this.#requests.count > 0,
      needed: this.readers.windows().map(({ first }) => first),
    });
  }

  #originFailed(error: CodedError): void {
    const mayComeElsewhere = this.#context.isSupervised() || this.#parents.open().length > 0;
    if (!this.#turn.rests(error, { mayComeElsewhere })) this.fail(error);
    else this.ledger.note(`the origin cannot be used from here: ${error.message}`);
  }

  #stalled(parent: ParentLink): void {
    this.#failures.stalled(parent, this.#requests.askedOf(parent.peer) ?? 0);
    this.#pulse.poke();
  }

  /** Takes pieces from a parent that stalls, as far as they can be had elsewhere. */
  #relieve(stalled: ParentLink): void {
    const others = this.#parents.open().filter((parent) => !parent.isStalled);
    this.#requests.relieve(stalled, (piece) => {
      return this.#turn.mayShare || others.some((parent) => parent.has(piece));
    });
  }

  /** Without room the task fails; once it has, making room would cost the pieces it leaves for the next try. */
  async #makeRoom(error: CodedError): Promise<boolean> {
    if (this.isEnding) return false;
    const isRoom = await this.#room.make();
    if (!isRoom) this.fail(error);
    return isRoom;
  }

  #had(piece: number, source: string, bytes: number): void {
    if (!this.ledger.delivered(source, piece, bytes)) return;
    this.#requests.had(piece);
    this.#room.progressed();
    this.#turn.progressed();
    this.#lastProgressMs = this.#context.clock.monotonic();
    this.ledger.wait(undefined);
    this.#context.pool.announce(this.stored, [piece]);
    this.readers.had();
    // Of another idc: the first in this one.
    const isFirst =
      this.ledger.roleOf(source) !== 'peer' || this.#parents.get(source)?.isFar === true;
    this.#context.reporter.had(this.stored, piece, { isFirst });
    this.#pulse.came();
  }

  /** Digests became known: pieces had under another digest are lost, the others may be asked for. */
  #restated({ dropped, pieces }: ManifestChange): void {
    for (const piece of dropped) {
      this.ledger.lost(piece);
      this.#context.reporter.lost(this.stored, piece);
      this.ledger.note(`the digest of piece ${piece} was stated wrong; it is fetched again`);
    }
    if (dropped.length > 0) {
      this.#context.pool.retract(this.stored, dropped);
      this.readers.lost();
    }
    this.#requests.want(pieces);
    this.#requests.want(dropped);
  }

  /** Says why nothing moves, when nothing moves. */
  #noteWait(): void {
    const parents = this.#parents.all();
    const isServed = parents.some((parent) => parent.inFlight > 0 && !parent.isStalled);
    if (isServed || this.#origin.isBusy) {
      this.#servedMs = this.#context.clock.monotonic();
      return this.ledger.wait(undefined);
    }
    const isSupervised = this.#context.isSupervised();
    const [isAsked, isWanted] = [this.#requests.count > 0, this.#requests.isAnyWanted];
    this.ledger.wait(waitReason({ parents, isSupervised, isAsked, isWanted }));
  }
}

/** A limit of this host holds up what comes. */
function isHolding({ downloadLimiter, farTurns }: SwarmContext): boolean {
  return downloadLimiter.isHolding || farTurns?.isHolding === true;
}
