import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { Random } from '../base/random.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { ParentLink } from './parent-link.ts';
import { PiecePicker } from './piece-picker.ts';
import type { Ask } from './piece-picker.ts';
import type { ReadWindow } from './task-readers.ts';
import type { ParentNews } from './transfer-pool.ts';

/** What requests are made with. */
export interface PieceRequestsParts {
  readonly stored: StoredTask;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
  readonly key: { readonly peerId: string };
  /** True while a supernode answers. */
  readonly isSupervised: () => boolean;
  parent(peer: string): ParentLink | undefined;
  /** True while the piece comes from the origin. */
  isReading(piece: number): boolean;
  /** True while a limit of this host holds up what comes: then no parent is late. */
  isHeldBack(): boolean;
  /** Takes a piece of a parent; what it throws has been dealt with. */
  take(parent: ParentLink, ask: Ask, signal: AbortSignal): Promise<void>;
}

interface Running {
  readonly piece: number;
  readonly peer: string;
  readonly controller: AbortController;
  readonly ended: Promise<void>;
}

/** So long a piece that a reader waits for may be on its way to another host; then the seed is asked, too. */
const SEED_PATIENCE_MS = 2_000;
const TAKEN_BACK = new CodedError('ERR_INTERRUPTED', 'the piece is taken of another parent');

/** The requests of one task that parents have not answered: makes what the picker chooses, moves and takes back. */
export class PieceRequests {
  readonly #parts: PieceRequestsParts;
  readonly #picker: PiecePicker;
  readonly #running = new Map<string, Running>();
  /** No peer has anything that is missing here: the seed is asked, until one has. */
  #isStarved = false;
  #windows: readonly ReadWindow[] = [];
  /** The first pieces that readers lack, and since when each is. */
  #waiting = new Map<number, number>();
  /** Came to be wanted since parents were asked last. */
  #fresh: number[] = [];
  /** What the seed has by the cell's word, before it said so itself. */
  readonly #supposed = new Set<number>();

  constructor(parts: PieceRequestsParts) {
    this.#parts = parts;
    const { stored, random, key } = parts;
    const pieces = stored.pieces.length;
    this.#picker = new PiecePicker({ pieces, random, self: key.peerId });
    this.wantMissing();
  }

  /** Requests that are not answered. */
  get count(): number {
    return this.#picker.inFlight;
  }

  /** True while a piece is missing whose digest is known, and that does not come from the origin. */
  get isAnyWanted(): boolean {
    return this.#picker.openPieces > 0 || this.count > 0;
  }

  isAsked(piece: number): boolean {
    return this.#picker.askedFor(piece).length > 0;
  }

  /** A piece that the parent was asked for. */
  askedOf(peer: string): number | undefined {
    return this.#running.values().find((request) => request.peer === peer)?.piece;
  }

  /** Pieces that are missing may be asked for, if their digest is known: that of some came to be known just now. */
  want(pieces: readonly number[]): void {
    this.#want(pieces);
    this.#fresh.push(...pieces);
  }

  wantMissing(): void {
    this.#want(this.#parts.stored.missingWithDigest());
  }

  /** The piece is here: nobody need be asked for it. */
  had(piece: number): void {
    this.#picker.unwant(piece);
  }

  opened(parent: ParentLink, pieces: readonly number[]): void {
    this.#picker.open(parent.peer, parent.role, { isFar: parent.isFar });
    for (const piece of pieces) this.#picker.has(parent.peer, piece);
  }

  closed(parent: ParentLink): void {
    this.#picker.close(parent.peer);
  }

  /** A parent has more, and says how long its line is. What waits in a longer line moves over, now and then. */
  heard(parent: ParentLink, { pieces, offers, load }: ParentNews): void {
    const { peer } = parent;
    this.#picker.loaded(peer, load);
    for (const piece of offers) this.#picker.offered(peer, piece);
    for (const piece of pieces) {
      this.#picker.has(peer, piece);
      const from = this.#picker.betterThan(peer, piece);
      if (from !== undefined) void this.#move(piece, from, peer);
    }
  }

  lacks(parent: ParentLink, piece: number): void {
    this.#picker.lacks(parent.peer, piece);
  }

  has(parent: ParentLink, piece: number): void {
    this.#picker.has(parent.peer, piece);
  }

  /**
   * Asks parents for what is missing, first for what readers need next; the seed for anything, and then who stalls,
   * only when nobody else is left.
   */
  ask(parents: readonly ParentLink[], windows: readonly ReadWindow[] = []): void {
    this.#windows = windows;
    for (const parent of parents) {
      this.#picker.rest(parent.peer, parent.isResting || parent.isStalled);
    }
    const isSeedFree = this.#suppose(parents);
    if (this.#askAll(isSeedFree) > 0) this.#isStarved = false;
    else if (this.count === 0) this.#isStarved = true;
    if (this.#isStarved) this.#askAll(true);
    if (this.count > 0) return this.#hedge();
    for (const parent of parents) this.#picker.rest(parent.peer, parent.isResting);
    this.#askAll(true);
  }

  /** Takes requests back from a parent, those that `isElsewhere` says others can answer. */
  relieve(parent: ParentLink, isElsewhere: (piece: number) => boolean): void {
    for (const { piece, peer, controller } of this.#running.values()) {
      if (peer === parent.peer && isElsewhere(piece)) controller.abort(TAKEN_BACK);
    }
  }

  /**
   * The piece came of `peer`, `ms` after it was asked for. Whoever else was asked for it is told to stop; true, when
   * they have, if they may have written to its place.
   */
  async came(peer: string, piece: number, ms: number): Promise<boolean> {
    const others = this.#picker
      .brought(peer, piece, ms)
      .flatMap((other) => this.#running.get(nameOf(piece, other)) ?? []);
    for (const { controller } of others) controller.abort(TAKEN_BACK);
    await Promise.all(others.map(async ({ ended }) => ended));
    return others.length > 0;
  }

  #want(pieces: Iterable<number>): void {
    const { stored } = this.#parts;
    for (const piece of pieces) {
      if (!stored.pieces.has(piece) && stored.digestOf(piece) !== undefined) {
        this.#picker.want(piece);
      }
    }
  }

  /**
   * True for a host that knows nobody but the seed: it takes everything there. It does so as soon as the cell has signed
   * the digest, for what the seed itself says on the link comes behind the pieces that wait there, and whoever asks
   * only then leaves the link idle for a round trip.
   */
  #suppose(parents: readonly ParentLink[]): boolean {
    const { stored, isSupervised } = this.#parts;
    const fresh = this.#fresh;
    this.#fresh = [];
    const [seed] = parents;
    const isAlone = parents.length === 1 && seed?.role === 'seed' && !seed.isFar;
    if (!isAlone || !isSupervised()) return false;
    if (!seed.isOpen) return true;
    for (const piece of fresh) {
      if (stored.pieces.has(piece) || seed.has(piece) || !stored.isSigned(piece)) continue;
      this.#supposed.add(piece);
      this.#picker.has(seed.peer, piece);
    }
    return true;
  }

  /**
   * Returns how many requests were made. Readers take turns, for what they need next and then for what they need soon.
   * The rest comes last: it is theirs in the end, too, and somebody else may want the whole.
   */
  #askAll(isSeedFree: boolean): number {
    let asked = this.#askNeeded(isSeedFree, ({ first }) => this.#picker.needFrom(first));
    asked += this.#askNeeded(isSeedFree, ({ first, pieces }) => {
      this.#picker.needFrom(first, pieces);
    });
    if (!isSeedFree) asked += this.#askForWaiting();
    this.#picker.needFrom(undefined);
    while (this.#askOne(isSeedFree)) asked += 1;
    const [front] = this.#windows;
    // What is asked of a second parent, or of another, is as urgent as the first that reads has it.
    this.#picker.needFrom(front?.first);
    return asked;
  }

  #askNeeded(isSeedFree: boolean, look: (window: ReadWindow) => void): number {
    let asked = 0;
    for (let windows = this.#windows; windows.length > 0; asked += windows.length) {
      windows = windows.filter((window) => {
        look(window);
        return this.#askOne(isSeedFree);
      });
    }
    return asked;
  }

  /** A piece for which a reader has waited, and that no peer has, is asked of the seed, whatever peers bring besides. */
  #askForWaiting(): number {
    const now = this.#parts.clock.monotonic();
    const before = this.#waiting;
    this.#waiting = new Map(this.#windows.map(({ first }) => [first, before.get(first) ?? now]));
    let asked = 0;
    for (const [first, sinceMs] of this.#waiting) {
      if (now - sinceMs < SEED_PATIENCE_MS || this.isAsked(first)) continue;
      this.#picker.needFrom(first);
      if (this.#askOne(true)) asked += 1;
    }
    return asked;
  }

  /** False when there is nothing to ask for now. */
  #askOne(isSeedFree: boolean): boolean {
    const { clock, isSupervised } = this.#parts;
    const options = { isSeedFree, isUnled: !isSupervised() };
    for (;;) {
      const ask = this.#picker.next(clock.monotonic(), options);
      if (ask === undefined) return false;
      if (!this.#parts.isReading(ask.piece)) {
        this.#start(ask);
        return true;
      }
      this.#picker.failed(ask.peer, ask.piece);
      // It is wanted again when the origin was read.
      this.#picker.unwant(ask.piece);
    }
  }

  #hedge(): void {
    if (this.#parts.isHeldBack()) return;
    const ask = this.#picker.hedge(this.#parts.clock.monotonic());
    if (ask !== undefined) this.#start(ask);
  }

  #start(ask: Ask): void {
    const { peer, piece } = ask;
    const parent = this.#parts.parent(peer);
    if (parent === undefined) {
      this.#picker.failed(peer, piece);
      this.#picker.close(peer);
      return;
    }
    const controller = new AbortController();
    const signal = AbortSignal.any([this.#parts.signal, controller.signal]);
    const name = nameOf(piece, peer);
    parent.inFlight += 1;
    const ended = this.#parts.take(parent, ask, signal).finally(() => {
      parent.inFlight -= 1;
      this.#running.delete(name);
      this.#picker.failed(peer, piece);
      const isSupposed = this.#supposed.delete(piece);
      if (this.#parts.stored.pieces.has(piece)) return this.#picker.unwant(piece);
      // From now on only its own word counts.
      if (isSupposed && !parent.has(piece)) this.#picker.lacks(peer, piece);
      this.#want([piece]);
    });
    this.#running.set(name, { piece, peer, controller, ended });
  }

  async #move(piece: number, from: string, to: string): Promise<void> {
    const isBack = await this.#parts.parent(from)?.takeBack(piece);
    if (isBack !== true) return;
    const { clock, signal } = this.#parts;
    const ask = this.#picker.moved(piece, { from, to, nowMs: clock.monotonic() });
    if (ask === undefined) return;
    if (signal.aborted) this.#picker.failed(to, piece);
    else this.#start(ask);
  }
}

function nameOf(piece: number, peer: string): string {
  return `${piece} ${peer}`;
}
