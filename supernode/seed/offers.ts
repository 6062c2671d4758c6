/** How long the child a piece was offered to has to show it before everybody is told of it. */
export const OFFER_PATIENCE_MS = 2_000;

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
}

/**
 * Super-seeding: which child each new piece is offered to, so that the seed sends about one copy and the
 * children trade the rest. Owners follow from rendezvous hashing, so a child that joins or leaves moves
 * only its own share. A piece seen at a child, or offered in vain for 2 s, is for everybody.
 */
export class Offers {
  readonly #children = new Set<string>();
  readonly #waiting = new Map<number, Waiting>();

  /** True when there is nobody and nothing to offer. */
  get isIdle(): boolean {
    return this.#children.size === 0 && this.#waiting.size === 0;
  }

  /** A piece the seed has now. */
  add(piece: number, nowMs: number): Offer[] {
    if (this.#waiting.has(piece)) return [];
    const waiting: Waiting = { owner: undefined, weight: -1, sinceMs: nowMs };
    this.#waiting.set(piece, waiting);
    for (const child of this.#children) claim(waiting, piece, child);
    return waiting.owner === undefined ? [] : [{ piece, to: waiting.owner }];
  }

  /** A child takes part now: it is offered its share of what nobody has yet. */
  join(child: string, nowMs: number): Offer[] {
    if (this.#children.has(child)) return [];
    this.#children.add(child);
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
      waiting.owner = undefined;
      waiting.weight = -1;
      waiting.sinceMs = nowMs;
      for (const other of this.#children) claim(waiting, piece, other);
      if (waiting.owner !== undefined) offers.push({ piece, to: waiting.owner });
    }
    return offers;
  }

  /** A host other than the seed has the piece: from now on everybody may know that the seed has it too. */
  seen(piece: number): Offer[] {
    return this.#waiting.delete(piece) ? [{ piece, to: undefined }] : [];
  }

  /** Pieces that were offered in vain for too long; call it now and then. */
  overdue(nowMs: number): Offer[] {
    const offers: Offer[] = [];
    for (const [piece, waiting] of this.#waiting) {
      if (waiting.owner === undefined || nowMs - waiting.sinceMs < OFFER_PATIENCE_MS) continue;
      this.#waiting.delete(piece);
      offers.push({ piece, to: undefined });
    }
    return offers;
  }
}

function claim(waiting: Waiting, piece: number, child: string): boolean {
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
