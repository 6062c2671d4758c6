/** How long a child has to show a piece that it was offered, while others show theirs. */
export const OFFER_PATIENCE_MS = 2_000;
/** A child was passed over when so many rounds of the others' pieces were seen since its last. */
const ROUNDS = 3;
/** Nobody shows anything for so long: whoever was offered a piece is not waited for. */
const STANDSTILL_MS = 15_000;

/** A piece to announce: to one child, or to all. */
export interface Offer {
  readonly piece: number;
  /** Undefined: everybody. */
  readonly to: string | undefined;
}

interface Waiting {
  owner: string | undefined;
  weight: number;
  sinceMs: number;
  /** Children that were offered it in vain. */
  past: Set<string> | undefined;
}

interface Child {
  /** Pieces seen in all when one of those offered to it was seen last. */
  seen: number;
  atMs: number;
}

/**
 * Super-seeding: which child each new piece is offered to, so that the seed sends about one copy and the children
 * trade the rest. Owners follow from rendezvous hashing, so a child that joins or leaves moves only its own share. A
 * child that does not take its pieces while others do loses them to the next. Pieces that were seen at a child are for
 * everybody, once none waits to be seen: until then the seed's upload is worth more for what nobody has.
 */
export class Offers {
  readonly #children = new Map<string, Child>();
  readonly #waiting = new Map<number, Waiting>();
  /** Seen at a child, and not announced to everybody yet. */
  readonly #held: number[] = [];
  #seen = 0;
  #seenMs = Number.NEGATIVE_INFINITY;

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
    const waiting: Waiting = { owner: undefined, weight: -1, sinceMs: nowMs, past: undefined };
    this.#waiting.set(piece, waiting);
    this.#assign(piece, waiting);
    return waiting.owner === undefined ? [] : [{ piece, to: waiting.owner }];
  }

  /** A child takes part now: it is offered its share of what nobody has yet. */
  join(child: string, nowMs: number): Offer[] {
    if (this.#children.has(child)) return [];
    this.#children.set(child, { seen: this.#seen, atMs: nowMs });
    const offers: Offer[] = [];
    for (const [piece, waiting] of this.#waiting) {
      if (!claim(waiting, piece, child)) continue;
      waiting.sinceMs = nowMs;
      offers.push({ piece, to: child });
    }
    return offers;
  }

  /** A child is gone or complete: what was offered to it is offered to others. */
  leave(child: string, nowMs: number): Offer[] {
    if (!this.#children.delete(child)) return [];
    const offers: Offer[] = [];
    for (const [piece, waiting] of this.#waiting) {
      if (waiting.owner !== child) continue;
      waiting.sinceMs = nowMs;
      this.#assign(piece, waiting);
      if (waiting.owner !== undefined) offers.push({ piece, to: waiting.owner });
    }
    return offers;
  }

  /** A host other than the seed has the piece. */
  seen(piece: number, nowMs: number): Offer[] {
    const waiting = this.#waiting.get(piece);
    if (waiting === undefined) return [];
    this.#waiting.delete(piece);
    this.#seen += 1;
    this.#seenMs = nowMs;
    const owner = this.#children.get(waiting.owner ?? '');
    if (owner !== undefined) Object.assign(owner, { seen: this.#seen, atMs: nowMs });
    this.#held.push(piece);
    return this.#release();
  }

  /** Pieces that were offered in vain for too long: to the next child, or to everybody; call it now and then. */
  overdue(nowMs: number): Offer[] {
    const offers: Offer[] = [];
    for (const [piece, waiting] of this.#waiting) {
      const { owner } = waiting;
      if (owner === undefined || !this.#isOverdue(waiting, owner, nowMs)) continue;
      waiting.past ??= new Set();
      waiting.past.add(owner);
      waiting.sinceMs = nowMs;
      this.#assign(piece, waiting);
      if (waiting.owner === undefined) this.#waiting.delete(piece);
      offers.push({ piece, to: waiting.owner });
    }
    return [...offers, ...this.#release()];
  }

  #isOverdue(waiting: Waiting, owner: string, nowMs: number): boolean {
    const child = this.#children.get(owner);
    const waitedMs = nowMs - Math.max(waiting.sinceMs, child?.atMs ?? 0);
    if (waitedMs < OFFER_PATIENCE_MS) return false;
    // The seed serves its children in turn: with many of them, or a slow link, a turn takes long.
    const passedOver = this.#seen - (child?.seen ?? 0);
    if (passedOver >= ROUNDS * this.#children.size) return true;
    return nowMs - Math.max(waiting.sinceMs, this.#seenMs) >= STANDSTILL_MS;
  }

  #release(): Offer[] {
    if (this.#waiting.size > 0) return [];
    return this.#held.splice(0).map((piece) => ({ piece, to: undefined }));
  }

  #assign(piece: number, waiting: Waiting): void {
    waiting.owner = undefined;
    waiting.weight = -1;
    for (const child of this.#children.keys()) claim(waiting, piece, child);
  }
}

function claim(waiting: Waiting, piece: number, child: string): boolean {
  if (waiting.past?.has(child) === true) return false;
  const weight = weightOf(piece, child);
  if (weight <= waiting.weight) return false;
  waiting.weight = weight;
  waiting.owner = child;
  return true;
}

/** FNV-1a with a final mix: cheap, and even enough to share out pieces. */
function weightOf(piece: number, child: string): number {
  let hash = 0x811c9dc5 ^ Math.imul(piece + 1, 0x9e3779b1);
  for (let index = 0; index < child.length; index += 1) {
    hash = Math.imul(hash ^ child.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
