import { Bitfield } from '../../core/piece/bitfield.ts';
import type { Random } from '../../core/base/random.ts';
import { PiecePicker } from '../../core/swarm/piece-picker.ts';
import type { Ask } from '../../core/swarm/piece-picker.ts';
import type { SimEvent } from './event-queue.ts';
import type { CardRates, SimUpload } from './sim-card.ts';
import type { SimCard } from './sim-card.ts';
import type { SimWorld } from './sim-world.ts';

/** The name of the seed among parents. */
export const SEED = 'seed';

/** HAVEs wait so long for others to go with. */
const HAVE_WAIT_MS = 2;
/** How often a host looks for requests that are late, and whether it moves at all. */
const WAKE_MS = 250;
/** Without a piece for so long, a host asks for more parents. */
const STUCK_MS = 5_000;

/** One host that takes the content: the picker that real hosts use, over a simulated card. */
export class SimHost {
  readonly name: string;
  readonly idc: number;
  readonly card: SimCard;
  readonly have: Bitfield;
  readonly picker: PiecePicker;
  readonly neighbours = new Set<SimHost>();
  joinedMs = 0;
  hasJoined = false;
  /** Undefined while something is missing. */
  doneMs: number | undefined;
  fromSeed = 0;
  fromPeers = 0;
  fromOrigin = 0;
  duplicate = 0;
  readonly #world: SimWorld;
  #untold: number[] = [];
  readonly #tell: SimEvent = { fire: () => this.#tellNeighbours() };
  readonly #wake: SimEvent = { fire: () => this.#awake() };
  #progressMs = 0;

  constructor(
    world: SimWorld,
    about: {
      readonly name: string;
      readonly idc: number;
      readonly rates: CardRates;
      readonly random: Random;
    },
  ) {
    this.#world = world;
    this.name = about.name;
    this.idc = about.idc;
    this.card = world.newCard(about.rates, about.idc);
    this.have = new Bitfield(world.pieces);
    this.picker = new PiecePicker({
      pieces: world.pieces,
      random: about.random,
      self: about.name,
    });
  }

  get isDown(): boolean {
    return this.card.isDown;
  }

  join(): void {
    const { queue, pieces } = this.#world;
    this.joinedMs = queue.nowMs;
    this.hasJoined = true;
    this.#progressMs = queue.nowMs;
    for (let piece = 0; piece < pieces; piece += 1) this.picker.want(piece);
    // The seed is in the first idc.
    this.picker.open(SEED, 'seed', { isFar: this.idc !== 0 });
    queue.after(WAKE_MS, this.#wake);
  }

  /** The seed is gone, and what was asked of it. */
  loseSeed(): void {
    this.picker.close(SEED);
    this.pump();
  }

  /** The seed is there again. */
  findSeed(): void {
    if (this.doneMs === undefined) this.picker.open(SEED, 'seed', { isFar: this.idc !== 0 });
  }

  /** Both know from now on what the other has. */
  link(other: SimHost): void {
    if (this.isDown || other.isDown || this.neighbours.has(other)) return;
    this.neighbours.add(other);
    other.neighbours.add(this);
    this.#meet(other);
    other.#meet(this);
    this.pump();
    other.pump();
  }

  /** The link is gone, and what was asked over it. */
  unlink(other: SimHost): void {
    if (!this.neighbours.delete(other)) return;
    this.picker.close(other.name);
    this.card.drop(other.card);
    this.pump();
  }

  /** Makes the requests that the picker finds useful now. */
  pump(): void {
    if (this.doneMs !== undefined || this.isDown) return;
    const { picker } = this;
    const { nowMs } = this.#world.queue;
    for (let ask = picker.next(nowMs); ask !== undefined; ask = picker.next(nowMs)) this.#ask(ask);
    if (picker.inFlight > 0 || picker.openPieces === 0) return;
    const options = { isSeedFree: true };
    for (
      let ask = picker.next(nowMs, options);
      ask !== undefined;
      ask = picker.next(nowMs, options)
    ) {
      this.#ask(ask);
    }
  }

  /** The piece came from the origin, or with the last byte of a request. */
  got(piece: number): void {
    if (!this.have.set(piece)) return;
    const { queue } = this.#world;
    this.#progressMs = queue.nowMs;
    if (this.have.isFull) this.doneMs = queue.nowMs;
    if (this.#untold.push(piece) === 1) {
      queue.after(HAVE_WAIT_MS + this.#world.delayMs, this.#tell);
    }
    this.#world.onPiece(this, piece);
  }

  /** A request was answered. */
  brought(request: SimRequest, ms: number): void {
    const { from, piece, bytes } = request;
    if (this.isDown) return;
    if (this.have.has(piece)) {
      this.duplicate += bytes;
      return;
    }
    this.#count(from, bytes);
    const name = from === undefined ? SEED : from.name;
    for (const other of this.picker.brought(name, piece, ms)) {
      const card = this.#world.cardOf(other);
      if (card === undefined) continue;
      this.#world.queue.call(this.#world.delayMs, () => card.cancel(this.card, piece));
    }
    this.got(piece);
    this.pump();
  }

  #count(from: SimHost | undefined, bytes: number): void {
    if (from === undefined) this.fromSeed += bytes;
    else this.fromPeers += bytes;
  }

  #meet(other: SimHost): void {
    if (this.doneMs !== undefined) return;
    this.picker.open(other.name, 'peer', { isFar: other.idc !== this.idc });
    for (const piece of other.have.indexes()) this.picker.has(other.name, piece);
  }

  #ask({ peer, piece }: Ask): void {
    const from = peer === SEED ? undefined : this.#world.hostOf(peer);
    const request = new SimRequest(this.#world, { child: this, from, piece });
    this.#world.queue.after(this.#world.delayMs, request);
  }

  #tellNeighbours(): void {
    const pieces = this.#untold;
    this.#untold = [];
    if (this.isDown) return;
    for (const other of this.neighbours) {
      if (other.doneMs === undefined) other.#hear(this, pieces);
    }
  }

  #hear(from: SimHost, pieces: readonly number[]): void {
    const { picker } = this;
    picker.loaded(from.name, from.card.waiting);
    let isNews = false;
    for (const piece of pieces) {
      if (this.have.has(piece)) continue;
      isNews = true;
      picker.has(from.name, piece);
      this.#move(from, piece);
    }
    if (isNews) this.pump();
  }

  /** What waits in a longer line is asked of this one, if it can be taken back. */
  #move(to: SimHost, piece: number): void {
    const slow = this.picker.betterThan(to.name, piece);
    const from = slow === undefined ? undefined : this.#world.hostOf(slow);
    if (from?.card.cancel(this.card, piece) !== true) return;
    const { nowMs } = this.#world.queue;
    const ask = this.picker.moved(piece, { from: from.name, to: to.name, nowMs });
    this.#world.moves += 1;
    if (ask !== undefined) this.#ask(ask);
  }

  #awake(): void {
    if (this.doneMs !== undefined || this.isDown) return;
    const { queue } = this.#world;
    for (;;) {
      const ask = this.picker.hedge(queue.nowMs);
      if (ask === undefined) break;
      this.#world.hedges += 1;
      this.#ask(ask);
    }
    this.pump();
    if (queue.nowMs - this.#progressMs >= STUCK_MS) {
      this.#progressMs = queue.nowMs;
      this.#world.onStuck(this);
    }
    queue.after(WAKE_MS, this.#wake);
  }
}

/** A piece asked of another host or of the seed (no host): on its way there, in line, on its way back. */
class SimRequest implements SimEvent, SimUpload {
  readonly piece: number;
  readonly bytes: number;
  readonly from: SimHost | undefined;
  readonly #world: SimWorld;
  readonly #child: SimHost;
  readonly #sinceMs: number;

  constructor(
    world: SimWorld,
    about: { readonly child: SimHost; readonly from: SimHost | undefined; readonly piece: number },
  ) {
    this.#world = world;
    this.#child = about.child;
    this.from = about.from;
    this.piece = about.piece;
    this.bytes = world.bytesOf(about.piece);
    this.#sinceMs = world.queue.nowMs;
  }

  get to(): SimCard {
    return this.#child.card;
  }

  /** The request has come to where it was sent. */
  fire(): void {
    (this.from?.card ?? this.#world.seedCard).send(this);
  }

  arrived(): void {
    this.#child.brought(this, this.#world.queue.nowMs - this.#sinceMs);
  }
}
