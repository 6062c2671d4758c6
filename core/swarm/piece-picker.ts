import type { Random } from '../base/random.ts';
import { Bitfield } from '../piece/bitfield.ts';
import { Hedging } from './hedging.ts';
import type { PickerRequest } from './hedging.ts';
import { ImportLicences } from './import-licences.ts';
import { PickerParent } from './picker-parent.ts';
import { MAX_LOOKED_AT, rarestPiece } from './rarest-piece.ts';
import { ServiceTime } from './service-time.ts';

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
  /** This host's own name among its neighbours. */
  readonly self?: string;
}

/** How the next request is to be chosen. */
export interface NextOptions {
  /** A seed may be asked for anything, because nobody else brings the task forward. */
  readonly isSeedFree?: boolean;
  /** No supernode names importers: neighbours share the work out by rendezvous hash. */
  readonly isUnled?: boolean;
}

/**
 * Requests in flight that keep every upload of a swarm busy; more of them only grow the lines, and what is asked early
 * is chosen on old news. In simulation, 16 hosts: 4 take 1.22 times the bound, 8 1.07, 12 1.10, 32 1.20.
 */
const MIN_IN_FLIGHT = 8;
const MAX_IN_FLIGHT = 128;
/** Requests in flight to other idcs at least; a host with few neighbours of its own idc has more. */
const MIN_FAR = 2;
/** A far seed is asked for what it offered when for so long no other host of another idc shows it. */
const FAR_PATIENCE_MS = 2_000;
/** Pieces that a consumer in order lets be fetched ahead, counted from the first it lacks. */
const WINDOW_PIECES = 16;
const URGENT_PIECES = 2;
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
  /** Who was asked about last: what comes of a parent comes in a row. */
  #latest: PickerParent | undefined;
  /** Who may give something since `next()` last found nobody who does: any, one, or still nobody. */
  #stirred: PickerParent | 'any' | undefined = 'any';
  /** Those that offered anything: few, so that nobody looks through all for it. */
  readonly #offerers = new Set<PickerParent>();
  /** Missing, digest known, asked of nobody. */
  readonly #open: Bitfield;
  readonly #requests = new Map<number, PickerRequest[]>();
  /** Copies of each piece among linked peers of the own idc; the seed does not count. */
  readonly #copies: Uint16Array;
  /** Pieces that this host is to bring into its idc. */
  readonly #licences: ImportLicences;
  #firstNeeded: number | undefined;
  #windowPieces = WINDOW_PIECES;
  #inFlight = 0;
  /** Of them to other idcs: they wait for a link that others use too, and hold nothing else up. */
  #farInFlight = 0;
  #near = 0;
  /** Parents in other idcs, seeds too. */
  #far = 0;
  readonly #hedging = new Hedging();
  /** How long a request holds up any parent. */
  readonly #usual = ServiceTime.usual();
  /** Sum of what the paths to all parents hold. */
  #onWay = 0;
  /** Pieces that near seeds offer to this host and that were not asked for yet. */
  #offers = 0;

  constructor(options: PickerOptions) {
    this.#random = options.random;
    this.#open = new Bitfield(options.pieces);
    this.#copies = new Uint16Array(options.pieces);
    this.#licences = new ImportLicences(options);
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
    return this.#parentOf(peer)?.inFlight ?? 0;
  }

  /** The consumer reads in order and lacks everything from `piece` on; undefined: it reads when all is there. */
  needFrom(piece: number | undefined, windowPieces = WINDOW_PIECES): void {
    this.#stirred = 'any';
    this.#firstNeeded = piece;
    this.#windowPieces = Math.max(WINDOW_PIECES, windowPieces);
  }

  /** A parent is linked; `has` tells what of. */
  open(peer: string, role: 'peer' | 'seed', { isFar = false }: { isFar?: boolean } = {}): void {
    if (this.#parents.has(peer)) return;
    this.#parents.set(peer, new PickerParent({ peer, role, isFar, pieces: this.#open.length }));
    if (isFar) this.#far += 1;
    if (isFar || role === 'seed') return;
    this.#near += 1;
    this.#licences.met(peer);
  }

  /** A parent's link is gone, and with it what it was asked for. */
  close(peer: string): void {
    const parent = this.#parents.get(peer);
    if (parent === undefined) return;
    for (const piece of this.#requests.keys()) this.failed(peer, piece);
    this.#parents.delete(peer);
    this.#offerers.delete(parent);
    this.#latest = undefined;
    this.#stirred = 'any';
    if (parent.isFar) this.#far -= 1;
    else this.#offers -= parent.offers.size;
    this.#onWay = this.#parents.size === 0 ? 0 : this.#onWay - parent.response.onWay;
    if (!parent.isNearPeer) return;
    this.#near -= 1;
    this.#licences.lost(peer);
    for (const piece of parent.pieces.indexes()) this.#lower(piece);
  }

  has(peer: string, piece: number): void {
    const parent = this.#parentOf(peer);
    if (parent === undefined || piece >= this.#open.length || !parent.pieces.set(piece)) return;
    if (parent.isNearPeer) this.#raise(piece);
    if (!this.#open.has(piece) || !this.#mayGive(parent, piece)) return;
    parent.useful += 1;
    if (this.#stirred !== parent) this.#stirred = this.#stirred === undefined ? parent : 'any';
  }

  lacks(peer: string, piece: number): void {
    const parent = this.#parentOf(peer);
    if (parent?.pieces.clear(piece) !== true) return;
    if (this.#open.has(piece) && this.#mayGive(parent, piece)) parent.useful -= 1;
    parent.offered.delete(piece);
    if (parent.offers.delete(piece) && !parent.isFar) this.#offers -= 1;
    if (parent.isNearPeer) this.#lower(piece);
  }

  /**
   * The seed has the piece and this host is to fetch it, so that others can have it from here. A seed of another idc
   * means that this host is to bring it into its own: of any host there that has it, and of the seed only when none
   * shows it for a while.
   */
  offered(peer: string, piece: number): void {
    this.has(peer, piece);
    const parent = this.#parentOf(peer);
    if (parent === undefined) return;
    // Its digest comes another way, and maybe later.
    parent.offered.set(piece, Number.NaN);
    this.#offerers.add(parent);
    if (parent.isFar) this.#license(piece);
    else if (this.#open.has(piece)) this.#offer(parent, piece);
  }

  /** How many requests wait in a parent's line, by its own word. */
  loaded(peer: string, requests: number): void {
    const parent = this.#parentOf(peer);
    if (parent !== undefined) parent.load = requests;
  }

  /** The parent is not to be asked for a while, or may be asked again. */
  rest(peer: string, isResting: boolean): void {
    const parent = this.#parentOf(peer);
    if (parent !== undefined) parent.isResting = isResting;
    this.#stirred = 'any';
  }

  /**
   * The next request to make, noted as made; undefined when there is none for now. Without `isSeedFree` a seed is asked
   * for what it offers only: its upload is the swarm's scarcest good. A parent of another idc is asked for what this
   * host is to bring into its own, and that no linked host there has.
   */
  next(nowMs: number, options: NextOptions = {}): Ask | undefined {
    const isSeedFree = options.isSeedFree === true;
    if (this.#near < this.#parents.size) this.#lookAcross(nowMs, options);
    const limit = this.#limit();
    // What a seed offers to this host nobody else brings: it waits for no room.
    const isFull = this.#inFlight - this.#farInFlight >= limit;
    const isFarFull =
      this.#far === 0 ||
      this.#farInFlight >= Math.max(MIN_FAR, Math.ceil(limit / (1 + this.#near)));
    if (isFull && isFarFull && this.#offers === 0) return undefined;
    const isRoom = (one: PickerParent): boolean =>
      one.isFar ? !isFarFull : !isFull || one.offers.size > 0;
    const stirred = isSeedFree ? 'any' : this.#stirred;
    let barren: Set<PickerParent> | undefined;
    for (;;) {
      const willDo = (one: PickerParent): boolean =>
        isRoom(one) && one.gives(isSeedFree) && barren?.has(one) !== true;
      const parent = stirred === 'any' ? this.#shortestLine(willDo) : stirred;
      if (parent === undefined || (stirred !== 'any' && !willDo(parent))) {
        // Not found for want of room only: whoever has something will be looked for again.
        if (!isFull && (this.#far === 0 || !isFarFull)) this.#stirred = undefined;
        return undefined;
      }
      const mayRarest = parent.isFar || !isFull;
      const piece =
        this.#offerOf(parent) ?? (mayRarest ? this.#rarestOf(parent, isSeedFree) : undefined);
      if (piece !== undefined) return this.#ask(parent, piece, nowMs);
      barren ??= new Set();
      barren.add(parent);
    }
  }

  /**
   * A second request for the piece whose parent is latest, within the share of bytes that may come twice. While there is
   * something else to ask for, a piece that comes late holds nobody up but a reader that is at it; then a parent that is
   * always slow is as late as one that is slow for once.
   */
  hedge(nowMs: number): Ask | undefined {
    const hedge = this.#hedging.next(this.#requests, {
      nowMs,
      mayBeLate: (piece) => this.#open.count === 0 || this.#isUrgent(piece),
      other: (piece, than) =>
        this.#shortestLine(
          (one) => one !== than && !one.isFar && one.isAskable && one.pieces.has(piece),
        ),
    });
    return hedge && this.#ask(hedge.parent, hedge.piece, nowMs);
  }

  /**
   * A parent has the piece now, and the one that was asked for it has a longer line: of whom it may be taken back, now
   * and then; of a host in another idc always. `moved()` follows if it could be.
   */
  betterThan(peer: string, piece: number): string | undefined {
    // By far most pieces: asked of nobody.
    if (this.#open.has(piece)) return undefined;
    const requests = this.#requests.get(piece);
    const asked = requests?.[0];
    if (requests?.length !== 1) return undefined;
    const parent = this.#parentOf(peer);
    if (parent === undefined || asked === undefined) return undefined;
    if (asked.parent === parent || asked.parent.role === 'seed' || !parent.isAskable)
      return undefined;
    if (asked.parent.isFar !== parent.isFar) return parent.isFar ? undefined : asked.parent.peer;
    const isShorter = parent.cost(this.#usual) < asked.parent.costBehind(this.#usual);
    if (!isShorter || this.#random.next() >= MOVE_CHANCE) return undefined;
    return asked.parent.peer;
  }

  /** The request to `from` was taken back: the same piece is asked of `to`, unless it cannot be any more. */
  moved(piece: number, about: { from: string; to: string; nowMs: number }): Ask | undefined {
    const parent = this.#parents.get(about.to);
    const mayAsk = parent?.isAskable === true && parent.pieces.has(piece);
    const requests = this.#requests.get(piece) ?? [];
    const [request] = requests;
    if (mayAsk && requests.length === 1 && request?.parent.peer === about.from) {
      // It is not open in between: no parent's count of what it can be asked for changes twice.
      this.#requests.delete(piece);
      this.#free(request.parent);
      return this.#ask(parent, piece, about.nowMs);
    }
    this.failed(about.from, piece);
    return mayAsk && this.#open.has(piece) ? this.#ask(parent, piece, about.nowMs) : undefined;
  }

  /** The piece came, in `ms` from its request on; returns who else was asked for it and is to be told to stop. */
  brought(peer: string, piece: number, ms: number): string[] {
    const parent = this.#parentOf(peer);
    const requests = this.#requests.get(piece) ?? [];
    const line = requests.find((request) => request.parent === parent)?.line;
    if (parent !== undefined) {
      if (line !== undefined && !parent.isFar) {
        parent.service.note(ms, line);
        this.#usual.note(ms, line);
      }
      const { onWay } = parent.response;
      parent.response.note(ms, parent.inFlight);
      this.#onWay += parent.response.onWay - onWay;
    }
    this.#hedging.brought(ms);
    this.#stirred = 'any';
    this.#licences.progressed();
    this.#requests.delete(piece);
    this.#shut(piece);
    for (const one of this.#offerers) one.offered.delete(piece);
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

  #parentOf(peer: string): PickerParent | undefined {
    if (this.#latest?.peer === peer) return this.#latest;
    const parent = this.#parents.get(peer);
    this.#latest = parent;
    return parent;
  }

  #ask(parent: PickerParent, piece: number, sinceMs: number): Ask {
    const requests = this.#requests.get(piece) ?? [];
    parent.inFlight += 1;
    parent.load += 1;
    requests.push({ parent, sinceMs, line: parent.load });
    this.#requests.set(piece, requests);
    this.#shut(piece);
    this.#inFlight += 1;
    if (parent.isFar) this.#farInFlight += 1;
    const isUrgent = this.#isUrgent(piece);
    return { peer: parent.peer, piece, isUrgent, isHedge: requests.length > 1 };
  }

  #isUrgent(piece: number): boolean {
    const first = this.#firstNeeded;
    return first !== undefined && piece >= first && piece < first + URGENT_PIECES;
  }

  #free(parent: PickerParent): void {
    this.#stirred = 'any';
    parent.inFlight -= 1;
    parent.load = Math.max(0, parent.load - 1);
    this.#inFlight -= 1;
    if (parent.isFar) this.#farInFlight -= 1;
  }

  /** The piece can be asked for. */
  #reopen(piece: number): void {
    if (!this.#open.set(piece)) return;
    this.#stirred = 'any';
    for (const parent of this.#parents.values()) {
      if (parent.pieces.has(piece) && this.#mayGive(parent, piece)) parent.useful += 1;
    }
    for (const parent of this.#offerers) {
      if (parent.offered.has(piece) && !parent.isFar) this.#offer(parent, piece);
    }
  }

  /** Of a parent in another idc only what this host is to import. */
  #mayGive(parent: PickerParent, piece: number): boolean {
    return !parent.isFar || this.#licences.due.has(piece);
  }

  #license(piece: number): void {
    if (this.#licences.grant(piece) && this.#copies[piece] === 0) this.#setDue(piece, true);
  }

  /** The piece is to be imported now, or not any more. */
  #setDue(piece: number, isDue: boolean): void {
    const { due } = this.#licences;
    if (!(isDue ? due.set(piece) : due.clear(piece)) || !this.#open.has(piece)) return;
    this.#stirred = 'any';
    for (const parent of this.#parents.values()) {
      if (parent.isFar && parent.pieces.has(piece)) parent.useful += isDue ? 1 : -1;
    }
  }

  /** Now and then: what is to be imported besides what a seed has said, and what only a far seed can give. */
  #lookAcross(nowMs: number, options: NextOptions): void {
    if (!this.#licences.isLookDue(nowMs)) return;
    const far = [...this.#parents.values()].filter(({ isFar }) => isFar);
    for (const seed of far) if (seed.role === 'seed') this.#ripen(seed, far, nowMs);
    if (options.isUnled === true) {
      for (const piece of this.#licences.shareNow(nowMs, this.#open.indexes()))
        this.#license(piece);
    } else if (this.#inFlight === 0 && this.#licences.isCutOff(nowMs)) this.#helpItself(far);
  }

  /** Any one piece of another idc, of the seed there if nobody else has one. */
  #helpItself(far: readonly PickerParent[]): void {
    const [one] = far
      .filter(({ isAskable }) => isAskable)
      .toSorted((a, b) => Number(a.role === 'seed') - Number(b.role === 'seed'));
    const found = [...this.#open.indexes()].filter((piece) => one?.pieces.has(piece) === true);
    const piece = found[this.#random.below(Math.max(1, found.length))];
    if (one === undefined || piece === undefined) return;
    this.#license(piece);
    if (one.role === 'seed') one.offers.add(piece);
    this.#stirred = 'any';
  }

  /** What a far seed offered and no other far host has shown in time is asked of the seed itself. */
  #ripen(seed: PickerParent, far: readonly PickerParent[], nowMs: number): void {
    const isElsewhere = (piece: number): boolean =>
      far.some(({ role, pieces }) => role === 'peer' && pieces.has(piece));
    for (const [piece, sinceMs] of seed.offered) {
      if (Number.isNaN(sinceMs)) seed.offered.set(piece, nowMs);
      const isRipe = nowMs - sinceMs >= FAR_PATIENCE_MS && !isElsewhere(piece);
      if (!isRipe || !this.#open.has(piece)) continue;
      seed.offers.add(piece);
      this.#stirred = 'any';
    }
  }

  #offer(parent: PickerParent, piece: number): void {
    if (parent.offers.has(piece)) return;
    parent.offers.add(piece);
    this.#offers += 1;
    this.#stirred = 'any';
  }

  /** The piece came, or somebody was asked for it. */
  #shut(piece: number): void {
    if (!this.#open.clear(piece)) return;
    for (const parent of this.#parents.values()) {
      if (parent.pieces.has(piece) && this.#mayGive(parent, piece)) parent.useful -= 1;
    }
  }

  #raise(piece: number): void {
    const copies = (this.#copies[piece] ?? 0) + 1;
    this.#copies[piece] = copies;
    if (copies === 1) this.#setDue(piece, false);
  }

  #lower(piece: number): void {
    const copies = Math.max(0, (this.#copies[piece] ?? 0) - 1);
    this.#copies[piece] = copies;
    if (copies === 0 && this.#licences.has(piece)) this.#setDue(piece, true);
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
      const cost = parent.cost(this.#usual);
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
      if (!parent.isFar) this.#offers -= 1;
      if (this.#open.has(piece) && this.#copies[piece] === 0) return piece;
    }
    return undefined;
  }

  /** The rarest open piece of a parent; before all others one that a consumer in order waits for. */
  #rarestOf(parent: PickerParent, isSeedFree: boolean): number | undefined {
    if (parent.role === 'seed' && (parent.isFar || !isSeedFree)) return undefined;
    const first = this.#firstNeeded;
    if (first === undefined) return this.#rarestIn(parent, this.#lookedAt());
    const ahead = (pieces: number): [number, number] => [
      first,
      Math.min(this.#open.length, first + pieces),
    ];
    return (
      this.#rarestIn(parent, ahead(URGENT_PIECES)) ??
      this.#rarestIn(parent, ahead(this.#windowPieces))
    );
  }

  #rarestIn(parent: PickerParent, range: readonly [from: number, to: number]): number | undefined {
    const due = parent.isFar ? this.#licences.due : undefined;
    const among = { open: this.#open, held: parent.pieces, due, copies: this.#copies };
    return rarestPiece(among, range, this.#random);
  }

  #lookedAt(): [from: number, to: number] {
    const { length } = this.#open;
    if (this.#open.count <= MAX_LOOKED_AT) return [0, length];
    const from = this.#random.below(length);
    return [from, from + length];
  }
}
