import type { Random } from '../base/random.ts';
import { Bitfield } from '../piece/bitfield.ts';
import { PickerParent } from './picker-parent.ts';

/** One request to make. */
export interface Ask {
  readonly peer: string;
  readonly piece: number;
  /** True: the consumer waits for this very piece. */
  readonly isUrgent: boolean;
  /** True: another parent was asked for it and is late; the first to bring it wins. */
  readonly isHedge: boolean;
}

/** How a picker begins. */
export interface PickerOptions {
  /** Pieces of the content, or what it may have at most. */
  readonly pieces: number;
  readonly random: Random;
}

interface Request {
  readonly parent: PickerParent;
  readonly sinceMs: number;
}

/**
 * Requests in flight that keep every upload of a swarm busy; more of them only grow the lines, and what is asked early
 * is chosen on old news. In simulation, 16 hosts: 4 take 1.22 times the bound, 8 1.07, 12 1.10, 32 1.20.
 */
const MIN_IN_FLIGHT = 8;
const MAX_IN_FLIGHT = 128;
/** Of very large content so many open pieces are looked at, from a place chosen by chance. */
const MAX_LOOKED_AT = 2_048;
/** Pieces that a consumer in order lets be fetched ahead, counted from the first it lacks. */
const WINDOW_PIECES = 16;
const URGENT_PIECES = 2;
/** Pieces asked twice because a parent is late, of those that came. */
const HEDGE_SHARE = 0.02;
/** A new holder takes over this share of those who wait in a longer line: the line halves, the copies double. */
const MOVE_CHANCE = 0.5;

/**
 * Which piece to ask of whom. It is told what is missing, who has what and how requests end, and answers `next()`: of
 * the parent with the shortest line the rarest piece, ties by chance. It knows no sockets and no clock, so that a
 * simulation runs the very code that hosts run.
 */
export class PiecePicker {
  readonly #random: Random;
  readonly #parents = new Map<string, PickerParent>();
  /** Missing, digest known, asked of nobody. */
  readonly #open: Bitfield;
  readonly #requests = new Map<number, Request[]>();
  /** Copies of each piece among linked peers; the seed does not count. */
  readonly #copies: Uint16Array;
  #firstNeeded: number | undefined;
  #windowPieces = WINDOW_PIECES;
  #inFlight = 0;
  /** Sum of what the paths to all parents hold. */
  #onWay = 0;
  /** Pieces that seeds offer to this host and that were not asked for yet. */
  #offers = 0;
  #brought = 0;
  #hedges = 0;

  constructor(options: PickerOptions) {
    this.#random = options.random;
    this.#open = new Bitfield(options.pieces);
    this.#copies = new Uint16Array(options.pieces);
  }

  /** Requests in flight. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Pieces that are missing and asked of nobody. */
  get openPieces(): number {
    return this.#open.count;
  }

  /** The piece is missing and its digest is known. */
  want(piece: number): void {
    if (!this.#requests.has(piece)) this.#reopen(piece);
  }

  /** The piece is not to be asked for: it came from elsewhere, or somebody else reads it. */
  unwant(piece: number): void {
    this.#shut(piece);
  }

  /** Who was asked for the piece and has not answered. */
  askedFor(piece: number): readonly string[] {
    return this.#requests.get(piece)?.map(({ parent }) => parent.peer) ?? [];
  }

  /** Requests that a parent has not answered. */
  askedOf(peer: string): number {
    return this.#parents.get(peer)?.inFlight ?? 0;
  }

  /** The consumer reads in order and lacks everything from `piece` on; undefined: it reads when all is there. */
  needFrom(piece: number | undefined, windowPieces = WINDOW_PIECES): void {
    this.#firstNeeded = piece;
    this.#windowPieces = Math.max(WINDOW_PIECES, windowPieces);
  }

  /** A parent is linked; `has` tells what of. */
  open(peer: string, role: 'peer' | 'seed'): void {
    if (this.#parents.has(peer)) return;
    this.#parents.set(peer, new PickerParent({ peer, role, pieces: this.#open.length }));
  }

  /** A parent's link is gone, and with it what it was asked for. */
  close(peer: string): void {
    const parent = this.#parents.get(peer);
    if (parent === undefined) return;
    for (const piece of this.#requests.keys()) this.failed(peer, piece);
    this.#parents.delete(peer);
    this.#offers -= parent.offers.size;
    this.#onWay = this.#parents.size === 0 ? 0 : this.#onWay - parent.response.onWay;
    if (parent.role === 'peer') for (const piece of parent.pieces.indexes()) this.#lower(piece);
  }

  has(peer: string, piece: number): void {
    const parent = this.#parents.get(peer);
    if (parent === undefined || piece >= this.#open.length || !parent.pieces.set(piece)) return;
    if (this.#open.has(piece)) parent.useful += 1;
    if (parent.role === 'peer') this.#copies[piece] = (this.#copies[piece] ?? 0) + 1;
  }

  lacks(peer: string, piece: number): void {
    const parent = this.#parents.get(peer);
    if (parent?.pieces.clear(piece) !== true) return;
    if (this.#open.has(piece)) parent.useful -= 1;
    parent.offered.delete(piece);
    if (parent.offers.delete(piece)) this.#offers -= 1;
    if (parent.role === 'peer') this.#lower(piece);
  }

  /** The seed has the piece and this host is to fetch it, so that others can have it from here. */
  offered(peer: string, piece: number): void {
    this.has(peer, piece);
    const parent = this.#parents.get(peer);
    if (parent === undefined) return;
    // Its digest comes another way, and maybe later.
    parent.offered.add(piece);
    if (this.#open.has(piece)) this.#offer(parent, piece);
  }

  /** How many requests wait in a parent's line, by its own word. */
  loaded(peer: string, requests: number): void {
    const parent = this.#parents.get(peer);
    if (parent !== undefined) parent.load = requests;
  }

  /** The parent is not to be asked for a while, or may be asked again. */
  rest(peer: string, isResting: boolean): void {
    const parent = this.#parents.get(peer);
    if (parent !== undefined) parent.isResting = isResting;
  }

  /**
   * The next request to make, noted as made; undefined when there is none for now. Without `isSeedFree` a seed is asked
   * for what it offers only: its upload is the swarm's scarcest good. With it, for anything, because nobody else brings
   * the task forward.
   */
  next(nowMs: number, options: { readonly isSeedFree?: boolean } = {}): Ask | undefined {
    // What a seed offers to this host nobody else brings: it waits for no room.
    const isFull = this.#inFlight >= this.#limit();
    if (isFull && this.#offers === 0) return undefined;
    const isSeedFree = options.isSeedFree === true;
    const barren = new Set<PickerParent>();
    for (;;) {
      const parent = this.#shortestLine(
        (one) => (!isFull || one.offers.size > 0) && one.gives(isSeedFree) && !barren.has(one),
      );
      if (parent === undefined) return undefined;
      const piece =
        this.#offerOf(parent) ?? (isFull ? undefined : this.#rarestOf(parent, isSeedFree));
      if (piece !== undefined) return this.#ask(parent, piece, nowMs);
      barren.add(parent);
    }
  }

  /** A second request for the piece whose parent is latest, within the share of bytes that may come twice. */
  hedge(nowMs: number): Ask | undefined {
    if (this.#hedges >= 1 + this.#brought * HEDGE_SHARE) return undefined;
    let latest: { piece: number; parent: PickerParent; lateMs: number } | undefined;
    for (const [piece, requests] of this.#requests) {
      const [request] = requests;
      if (request === undefined || requests.length > 1) continue;
      const lateMs = nowMs - request.sinceMs - request.parent.response.lateMs;
      if (!(lateMs > (latest?.lateMs ?? 0))) continue;
      const parent = this.#shortestLine(
        (one) => one !== request.parent && one.isAskable && one.pieces.has(piece),
      );
      if (parent !== undefined) latest = { piece, parent, lateMs };
    }
    if (latest === undefined) return undefined;
    this.#hedges += 1;
    return this.#ask(latest.parent, latest.piece, nowMs);
  }

  /**
   * A parent has the piece now, and the one that was asked for it has a longer line: of whom it may be taken back, now
   * and then. `moved()` follows if it could be.
   */
  betterThan(peer: string, piece: number): string | undefined {
    const parent = this.#parents.get(peer);
    const requests = this.#requests.get(piece);
    const [asked] = requests ?? [];
    if (parent === undefined || asked === undefined || requests?.length !== 1) return undefined;
    if (asked.parent === parent || asked.parent.role === 'seed' || !parent.isAskable)
      return undefined;
    if (parent.load + 1 >= asked.parent.load || this.#random.next() >= MOVE_CHANCE)
      return undefined;
    return asked.parent.peer;
  }

  /** The request to `from` was taken back: the same piece is asked of `to`, unless it cannot be any more. */
  moved(piece: number, about: { from: string; to: string; nowMs: number }): Ask | undefined {
    this.failed(about.from, piece);
    const parent = this.#parents.get(about.to);
    if (parent === undefined || !parent.isAskable || !this.#open.has(piece)) return undefined;
    return parent.pieces.has(piece) ? this.#ask(parent, piece, about.nowMs) : undefined;
  }

  /** The piece came, in `ms` from its request on; returns who else was asked for it and is to be told to stop. */
  brought(peer: string, piece: number, ms: number): string[] {
    const parent = this.#parents.get(peer);
    if (parent !== undefined) {
      const { onWay } = parent.response;
      parent.response.note(ms, parent.inFlight);
      this.#onWay += parent.response.onWay - onWay;
    }
    this.#brought += 1;
    const requests = this.#requests.get(piece) ?? [];
    this.#requests.delete(piece);
    this.#shut(piece);
    for (const one of this.#parents.values()) one.offered.delete(piece);
    for (const request of requests) this.#free(request.parent);
    return requests.map((request) => request.parent.peer).filter((other) => other !== peer);
  }

  /** The request came to nothing; the piece is open again unless somebody else was asked too. */
  failed(peer: string, piece: number): void {
    const requests = this.#requests.get(piece);
    const request = requests?.find(({ parent }) => parent.peer === peer);
    if (requests === undefined || request === undefined) return;
    this.#free(request.parent);
    requests.splice(requests.indexOf(request), 1);
    if (requests.length > 0) return;
    this.#requests.delete(piece);
    this.#reopen(piece);
  }

  #ask(parent: PickerParent, piece: number, sinceMs: number): Ask {
    const requests = this.#requests.get(piece) ?? [];
    requests.push({ parent, sinceMs });
    this.#requests.set(piece, requests);
    this.#shut(piece);
    parent.inFlight += 1;
    parent.load += 1;
    this.#inFlight += 1;
    const first = this.#firstNeeded;
    const isUrgent = first !== undefined && piece < first + URGENT_PIECES;
    return { peer: parent.peer, piece, isUrgent, isHedge: requests.length > 1 };
  }

  #free(parent: PickerParent): void {
    parent.inFlight -= 1;
    parent.load = Math.max(0, parent.load - 1);
    this.#inFlight -= 1;
  }

  /** The piece can be asked for. */
  #reopen(piece: number): void {
    if (!this.#open.set(piece)) return;
    for (const parent of this.#parents.values()) {
      if (parent.pieces.has(piece)) parent.useful += 1;
      if (parent.offered.has(piece)) this.#offer(parent, piece);
    }
  }

  #offer(parent: PickerParent, piece: number): void {
    if (parent.offers.has(piece)) return;
    parent.offers.add(piece);
    this.#offers += 1;
  }

  /** The piece came, or somebody was asked for it. */
  #shut(piece: number): void {
    if (!this.#open.clear(piece)) return;
    for (const parent of this.#parents.values()) if (parent.pieces.has(piece)) parent.useful -= 1;
  }

  #lower(piece: number): void {
    this.#copies[piece] = Math.max(0, (this.#copies[piece] ?? 0) - 1);
  }

  /** Long or fast paths need more in flight than the least: what is on the way, and half as much again. */
  #limit(): number {
    return Math.min(MAX_IN_FLIGHT, Math.max(MIN_IN_FLIGHT, 4 + Math.ceil(this.#onWay * 1.5)));
  }

  /** Of those that will do, who is to be asked first, ties by chance. */
  #shortestLine(willDo: (parent: PickerParent) => boolean): PickerParent | undefined {
    let best: PickerParent | undefined;
    let bestCost = Number.POSITIVE_INFINITY;
    let ties = 0;
    for (const parent of this.#parents.values()) {
      if (!willDo(parent)) continue;
      const { cost } = parent;
      if (best !== undefined && cost > bestCost) continue;
      ties = cost < bestCost ? 1 : ties + 1;
      if (best === undefined || cost < bestCost || this.#random.below(ties) === 0) best = parent;
      bestCost = cost;
    }
    return best;
  }

  /** A piece that the seed offers and nobody linked has yet. */
  #offerOf(parent: PickerParent): number | undefined {
    for (const piece of parent.offers) {
      parent.offers.delete(piece);
      this.#offers -= 1;
      if (this.#open.has(piece) && this.#copies[piece] === 0) return piece;
    }
    return undefined;
  }

  /** The rarest open piece of a parent, ties by chance. */
  #rarestOf(parent: PickerParent, isSeedFree: boolean): number | undefined {
    if (parent.role === 'seed' && !isSeedFree) return undefined;
    const open = this.#open.bytes;
    const held = parent.pieces.bytes;
    const { length } = this.#open;
    const [from, to] = this.#lookedAt();
    let looked = 0;
    let best: number | undefined;
    let bestCopies = Number.POSITIVE_INFINITY;
    let ties = 0;
    for (let at = from; at < to && looked < MAX_LOOKED_AT; at += 1) {
      const piece = at % length;
      const byte = (open[piece >> 3] ?? 0) & (held[piece >> 3] ?? 0);
      // Nothing of use up to the end of this byte.
      if (byte === 0) at += Math.min(7 - (piece & 7), length - 1 - piece);
      if ((byte & (0x80 >> (piece & 7))) === 0) continue;
      looked += 1;
      const copies = this.#copies[piece] ?? 0;
      if (copies > bestCopies) continue;
      ties = copies < bestCopies ? 1 : ties + 1;
      if (copies < bestCopies || this.#random.below(ties) === 0) best = piece;
      bestCopies = copies;
    }
    return best;
  }

  #lookedAt(): [from: number, to: number] {
    const { length } = this.#open;
    if (this.#firstNeeded !== undefined) {
      return [this.#firstNeeded, Math.min(length, this.#firstNeeded + this.#windowPieces)];
    }
    if (this.#open.count <= MAX_LOOKED_AT) return [0, length];
    const from = this.#random.below(length);
    return [from, from + length];
  }
}
