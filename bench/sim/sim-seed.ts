import { Bitfield } from '../../core/piece/bitfield.ts';
import { IdcOffers } from '../../supernode/seed/idc-offers.ts';
import type { Offer } from '../../supernode/seed/offers.ts';
import { idcName } from './sim-case.ts';
import type { SimHost } from './sim-host.ts';
import { SEED } from './sim-host.ts';
import type { SimWorld } from './sim-world.ts';

/** Reports wait so long for others to go with. */
const REPORT_MS = 100;
const OVERDUE_MS = 250;

/**
 * The seed: reads the origin from the first byte to the last, and offers each piece as the supernode's seed does.
 */
export class SimSeed {
  /** Told to everybody. */
  readonly #open: Bitfield;
  /** What hosts of each idc are known to have. */
  readonly #seen: readonly Bitfield[];
  /** Pieces it has: the first ones. */
  #read: number;
  #isDown = false;
  readonly #children = new Map<string, SimHost>();
  readonly #offers: IdcOffers;
  readonly #world: SimWorld;
  originBytes = 0;

  /** `read` pieces are on its disk from before. */
  constructor(world: SimWorld, read = 0) {
    this.#world = world;
    this.#read = read;
    this.#open = new Bitfield(world.pieces);
    this.#seen = Array.from({ length: world.idcs }, () => new Bitfield(world.pieces));
    this.#offers = new IdcOffers({
      idc: idcName(0),
      pieces: () => Array.from({ length: this.#read }, (_item, piece) => piece),
      isHeldIn: (idc, piece) =>
        this.#seen.some((seen, at) => idcName(at) === idc && seen.has(piece)),
    });
  }

  start(originBytesPerMs: number): void {
    const { queue, pieces } = this.#world;
    let bytes = 0;
    for (let piece = this.#read; piece < pieces; piece += 1) {
      bytes += this.#world.bytesOf(piece);
      queue.call(bytes / originBytesPerMs, () => this.#onRead(piece));
    }
    queue.call(OVERDUE_MS, () => this.#lookForOverdue());
  }

  /** Pieces it has. */
  get read(): number {
    return this.#read;
  }

  /** It reads, hears and says nothing any more. */
  stop(): void {
    this.#isDown = true;
    this.#children.clear();
  }

  /** A host comes back to it: it says what it has, and takes part again unless that is all. */
  comeBack(host: SimHost): void {
    const about = { idc: idcName(host.idc), nowMs: this.#world.queue.nowMs };
    const fresh = [...host.have.indexes()].filter((piece) => this.#seen[host.idc]?.set(piece));
    this.#tell(fresh.flatMap((piece) => this.#offers.seen(piece, about)));
    if (host.doneMs === undefined) this.join(host);
  }

  /** A host takes part: it is offered its share, and may ask for what all may ask for. */
  join(host: SimHost): void {
    this.#children.set(host.name, host);
    for (const piece of this.#open.indexes()) host.picker.has(SEED, piece);
    const about = { idc: idcName(host.idc), nowMs: this.#world.queue.nowMs };
    this.#tell(this.#offers.join(host.name, about));
  }

  /** A host is complete or gone. */
  leave(host: SimHost): void {
    this.#children.delete(host.name);
    this.#tell(this.#offers.leave(host.name, this.#world.queue.nowMs));
  }

  /** A host that died had these. */
  lost({ idc, have }: SimHost): void {
    for (const piece of have.indexes()) {
      if (!this.#world.isHeldIn(idcName(idc), piece)) this.#seen[idc]?.clear(piece);
    }
    const about = { idc: idcName(idc), nowMs: this.#world.queue.nowMs };
    this.#tell(this.#offers.lost(have.indexes(), about));
  }

  /** A host has a piece; what others of its idc were seen to have is no news. */
  report({ idc, name }: SimHost, piece: number): void {
    // Who has not come back to it yet tells all of it then.
    if (!this.#children.has(name)) return;
    if (this.#seen[idc]?.set(piece) !== true) return;
    this.#world.queue.call(REPORT_MS + this.#world.delayMs, () => this.#onSeen(idc, piece));
  }

  #onRead(piece: number): void {
    if (this.#isDown) return;
    this.#read += 1;
    this.originBytes += this.#world.bytesOf(piece);
    this.#tell(this.#offers.add(piece, this.#world.queue.nowMs));
  }

  #onSeen(idc: number, piece: number): void {
    if (this.#isDown) return;
    const about = { idc: idcName(idc), nowMs: this.#world.queue.nowMs };
    this.#tell(this.#offers.seen(piece, about));
  }

  #lookForOverdue(): void {
    if (this.#isDown) return;
    this.#tell(this.#offers.overdue(this.#world.queue.nowMs));
    if (this.#world.isRunning) this.#world.queue.call(OVERDUE_MS, () => this.#lookForOverdue());
  }

  #tellAll(pieces: readonly number[]): void {
    if (this.#isDown) return;
    const fresh = pieces.filter((piece) => this.#open.set(piece));
    for (const child of this.#children.values()) {
      child.picker.loaded(SEED, this.#world.seedCard.waiting);
      for (const piece of fresh) child.picker.has(SEED, piece);
      child.pump();
    }
  }

  #tell(offers: readonly Offer[]): void {
    const open = offers.flatMap(({ piece, to }) => (to === undefined ? [piece] : []));
    if (open.length > 0) this.#world.queue.call(this.#world.delayMs, () => this.#tellAll(open));
    for (const { piece, to } of offers) {
      const child = to === undefined ? undefined : this.#children.get(to);
      if (child === undefined) continue;
      this.#world.queue.call(this.#world.delayMs, () => {
        if (this.#isDown) return;
        child.picker.loaded(SEED, this.#world.seedCard.waiting);
        child.picker.offered(SEED, piece);
        child.pump();
      });
    }
  }
}
