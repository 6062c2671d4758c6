/** How long a child has to show a piece that it was offered, while others show theirs. */
export const OFFER_PATIENCE_MS = 2_000;
/** A child was passed over when so many rounds of the others' pieces were seen since its last. */
const ROUNDS = 10;
/**
 * Nobody shows anything for so many times the longest pause so far, within bounds: whoever was offered a piece is not
 * waited for. Before the first piece the longest; until then the oldest goes on alone, one after the other, in case
 * that it is the child that hangs and not the seed that is slow.
 */
const STANDSTILL = { pauses: 4, leastMs: 2_000, mostMs: 15_000 };
/** The last pieces: no other was added for as long as is usual, and few are left. Who takes so many times that is late. */
const LATE = 2;
const FEW = 1 / 2;
/** A child whose pieces took so many times as long as is usual is slow: others come first. */
const SLOW = 3;
/** Weight of the newest piece in what is usual, and in what a child takes. */
const USUAL_GAIN = 0.1;
const CHILD_GAIN = 0.5;

/** A piece to announce: to one child, or to all. */
export interface Offer {
  readonly piece: number;
  /** Undefined: everybody. */
  readonly to: string | undefined;
}

export interface OffersOptions {
  /** A child begins so many of the pieces offered to it, the oldest first: others may take the rest over from it. */
  readonly unbegunAfter?: number;
}

interface Waiting {
  owner: Child | undefined;
  sinceMs: number;
  /** Children that were offered it in vain. */
  past: Set<Child> | undefined;
}

interface Child {
  readonly name: string;
  /** Pieces offered to it that it has not shown, the newest last. */
  readonly offered: Set<number>;
  /** From an offer until the piece is seen; 0: not known. */
  tookMs: number;
  /** Pieces seen in all when one of those offered to it was seen last. */
  seen: number;
  atMs: number;
}

/**
 * Super-seeding: which child each new piece is offered to, so that the seed sends about one copy and the children
 * trade the rest. Children have their turns: who has shown what it was offered goes to the end of the line, so a piece
 * meets nobody who is still busy with another, and slow children hold few. A child that does not take its pieces while
 * others do loses them to the next. Pieces that were seen at a child are for everybody, once none waits to be seen:
 * until then the seed's upload is worth more for what nobody has.
 */
export class Offers {
  readonly #options: OffersOptions;
  readonly #children = new Map<string, Child>();
  /** Children that nothing is offered to, who waits longest first. */
  readonly #line = new Set<Child>();
  readonly #waiting = new Map<number, Waiting>();
  /** Seen at a child, and not announced to everybody yet. */
  readonly #held: number[] = [];
  #usualMs = 0;
  #seen = 0;
  #seenMs = Number.NEGATIVE_INFINITY;
  #addedMs = Number.NEGATIVE_INFINITY;
  #longestPauseMs = 0;
  /** When a piece was first offered to a child, or to another because the first showed nothing. */
  #firstMs = Number.POSITIVE_INFINITY;

  constructor(options: OffersOptions = {}) {
    this.#options = options;
  }

  /** True when there is nobody and nothing to offer. */
  get isIdle(): boolean {
    return this.#children.size === 0 && this.#waiting.size === 0;
  }

  /** Children that take part. */
  get children(): number {
    return this.#children.size;
  }

  /** A piece the seed has now. */
  add(piece: number, nowMs: number): Offer[] {
    if (this.#waiting.has(piece)) return [];
    this.#addedMs = nowMs;
    const waiting: Waiting = { owner: undefined, sinceMs: nowMs, past: undefined };
    this.#waiting.set(piece, waiting);
    return this.#assign(piece, waiting, this.#next(waiting));
  }

  /** A child takes part now: it is offered its share of what nobody has yet. */
  join(child: string, nowMs: number): Offer[] {
    if (this.#children.has(child)) return [];
    const joined: Child = {
      name: child,
      offered: new Set(),
      tookMs: 0,
      seen: this.#seen,
      atMs: nowMs,
    };
    this.#children.set(child, joined);
    this.#line.add(joined);
    const share = Math.ceil(this.#waiting.size / this.#children.size);
    const offers: Offer[] = [];
    // What was offered last is the least likely to be on its way.
    for (const [piece, waiting] of [...this.#waiting].toReversed()) {
      const { owner } = waiting;
      if (owner !== undefined && (owner.offered.size <= share || joined.offered.size >= share))
        continue;
      waiting.sinceMs = nowMs;
      offers.push(...this.#assign(piece, waiting, joined));
    }
    return offers;
  }

  /** A child is gone or complete: what was offered to it is offered to others. */
  leave(child: string, nowMs: number): Offer[] {
    const left = this.#children.get(child);
    if (left === undefined) return [];
    this.#children.delete(child);
    const offers: Offer[] = [];
    for (const [piece, waiting] of this.#waiting) {
      if (waiting.owner !== left) continue;
      waiting.sinceMs = nowMs;
      offers.push(...this.#assign(piece, waiting, this.#next(waiting)));
    }
    this.#line.delete(left);
    return offers;
  }

  /** A host other than the seed has the piece. */
  seen(piece: number, nowMs: number): Offer[] {
    const waiting = this.#waiting.get(piece);
    if (waiting === undefined) return [];
    this.#waiting.delete(piece);
    this.#seen += 1;
    const pauseMs = nowMs - Math.max(waiting.sinceMs, this.#seenMs);
    this.#longestPauseMs = Math.max(this.#longestPauseMs, pauseMs);
    this.#seenMs = nowMs;
    const { owner } = waiting;
    if (owner !== undefined) {
      this.#note(owner, nowMs - waiting.sinceMs);
      this.#take(owner, piece);
      Object.assign(owner, { seen: this.#seen, atMs: nowMs });
    }
    this.#held.push(piece);
    const moved = owner?.offered.size === 0 ? this.#relieve(owner, nowMs) : [];
    return [...moved, ...this.#release()];
  }

  /** A child that has shown all takes half of what another has not begun. */
  #relieve(idle: Child, nowMs: number): Offer[] {
    const { unbegunAfter } = this.#options;
    if (unbegunAfter === undefined || !this.#line.has(idle)) return [];
    let richest: Child | undefined;
    for (const child of this.#children.values()) {
      if (child.offered.size > (richest?.offered.size ?? unbegunAfter)) richest = child;
    }
    const offered = [...(richest?.offered ?? [])];
    const taken = offered.slice(Math.max(unbegunAfter, Math.ceil(offered.length / 2)));
    return taken.flatMap((piece) => {
      const waiting = this.#waiting.get(piece);
      if (waiting === undefined || waiting.past?.has(idle) === true) return [];
      waiting.sinceMs = nowMs;
      return this.#assign(piece, waiting, idle);
    });
  }

  /** Pieces that were offered in vain for too long: to the next child, or to everybody; call it now and then. */
  overdue(nowMs: number): Offer[] {
    const offers: Offer[] = [];
    for (const [piece, waiting] of this.#waiting) {
      const { owner } = waiting;
      if (owner === undefined || !this.#isOverdue(waiting, owner, nowMs)) continue;
      waiting.past ??= new Set();
      waiting.past.add(owner);
      this.#note(owner, nowMs - waiting.sinceMs);
      waiting.sinceMs = nowMs;
      offers.push(...this.#assign(piece, waiting, this.#next(waiting)));
      if (waiting.owner !== undefined) continue;
      this.#waiting.delete(piece);
      offers.push({ piece, to: undefined });
    }
    return [...offers, ...this.#release()];
  }

  #isOverdue(waiting: Waiting, owner: Child, nowMs: number): boolean {
    if (this.#isLate(waiting, nowMs)) return true;
    const waitedMs = nowMs - Math.max(waiting.sinceMs, owner.atMs);
    if (waitedMs < OFFER_PATIENCE_MS) return false;
    if (this.#seen === 0 && this.#isAnotherLeft(waiting)) {
      // The oldest comes first.
      if (nowMs - this.#firstMs < OFFER_PATIENCE_MS) return this.#isStandstill(waiting, nowMs);
      this.#firstMs = nowMs;
      return true;
    }
    // The seed serves its children in turn: with many of them, or a slow link, a turn takes long.
    const passedOver = this.#seen - owner.seen;
    if (passedOver >= ROUNDS * this.#children.size) return true;
    return this.#isStandstill(waiting, nowMs);
  }

  /** One of the last pieces that somebody who is not slow would fetch now, while the one who was to has had his time. */
  #isLate({ sinceMs, past }: Waiting, nowMs: number): boolean {
    const few = Math.min(this.#children.size, this.#seen) * FEW;
    const isLast = nowMs - this.#addedMs >= this.#usualMs && this.#waiting.size <= few;
    // Imports come over a line that others use: there nothing is asked for twice to save time.
    if (!isLast || this.#options.unbegunAfter !== undefined) return false;
    if (nowMs - sinceMs < Math.max(OFFER_PATIENCE_MS, LATE * this.#usualMs)) return false;
    return this.#line.values().some((child) => past?.has(child) !== true && !this.#isSlow(child));
  }

  #isStandstill(waiting: Waiting, nowMs: number): boolean {
    return nowMs - Math.max(waiting.sinceMs, this.#seenMs) >= this.#standstillMs;
  }

  #isAnotherLeft({ past }: Waiting): boolean {
    return this.#children.size > (past?.size ?? 0) + 1;
  }

  get #standstillMs(): number {
    const { pauses, leastMs, mostMs } = STANDSTILL;
    if (this.#seen === 0) return mostMs;
    return Math.min(mostMs, Math.max(leastMs, pauses * this.#longestPauseMs));
  }

  #release(): Offer[] {
    if (this.#waiting.size > 0) return [];
    return this.#held.splice(0).map((piece) => ({ piece, to: undefined }));
  }

  /** Who is offered a piece next: of those that are not slow who has shown all, or has the least to show. */
  #next({ past }: Waiting): Child | undefined {
    let best: Child | undefined;
    for (const child of this.#line) {
      if (past?.has(child) === true) continue;
      if (!this.#isSlow(child)) return child;
      best ??= child;
    }
    let least: Child | undefined;
    for (const child of this.#children.values()) {
      if (past?.has(child) === true || this.#isSlow(child)) continue;
      if (least === undefined || child.offered.size < least.offered.size) least = child;
    }
    if (least !== undefined || best !== undefined) return least ?? best;
    return this.#children.values().find((child) => past?.has(child) !== true);
  }

  #assign(piece: number, waiting: Waiting, to: Child | undefined): Offer[] {
    if (waiting.owner !== undefined) this.#take(waiting.owner, piece);
    waiting.owner = to;
    if (to === undefined) return [];
    to.offered.add(piece);
    this.#firstMs = Math.min(this.#firstMs, waiting.sinceMs);
    this.#line.delete(to);
    return [{ piece, to: to.name }];
  }

  /** One piece less is offered to the child. */
  #take(child: Child, piece: number): void {
    child.offered.delete(piece);
    if (child.offered.size === 0 && this.#children.get(child.name) === child) this.#line.add(child);
  }

  #note(child: Child, ms: number): void {
    child.tookMs += (child.tookMs === 0 ? 1 : CHILD_GAIN) * (ms - child.tookMs);
    const most = this.#usualMs === 0 ? ms : Math.min(ms, SLOW * this.#usualMs);
    this.#usualMs += (this.#usualMs === 0 ? 1 : USUAL_GAIN) * (most - this.#usualMs);
  }

  #isSlow(child: Child): boolean {
    return child.tookMs > SLOW * this.#usualMs;
  }
}
