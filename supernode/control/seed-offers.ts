import type { Clock, Timer } from '../../core/base/clock.ts';
import type { TransferPool } from '../../core/swarm/transfer-pool.ts';
import { IdcOffers } from '../seed/idc-offers.ts';
import type { Offer } from '../seed/offers.ts';
import type { SeedTask } from '../seed/seed-task.ts';

const OVERDUE_TICK_MS = 500;
/** Hosts that take a version from the seed at a time; the link of each costs it memory, and few spread a piece as well. */
const MAX_CHILDREN = 200;
/** Of each idc, whatever others have taken: they bring it there. */
const MIN_CHILDREN_OF_IDC = 20;

export interface SeedOffersParts {
  readonly pool: TransferPool;
  readonly clock: Clock;
  /** Where the seed stands. */
  readonly idc: string | undefined;
  /** True while a host of the idc has the piece of the version. */
  isHeldIn(seed: SeedTask, idc: string, piece: number): boolean;
  /** The version, if it is alive in the seed. */
  find(task: string, version: string): SeedTask | undefined;
}

/** Super-seeding of all versions: whom the seed tells of which piece, and the workers that tell it. */
export class SeedOffers implements Disposable {
  readonly #parts: SeedOffersParts;
  readonly #byVersion = new Map<string, IdcOffers>();
  readonly #timer: Timer;

  constructor(parts: SeedOffersParts) {
    this.#parts = parts;
    this.#timer = parts.clock.every(OVERDUE_TICK_MS, () => this.#tick());
  }

  /** Pieces the seed has now; those that a host has too are for everybody. */
  add(seed: SeedTask, pieces: readonly number[], isSeen: (piece: number) => boolean): void {
    const offers = this.#of(seed);
    const now = this.#now();
    const made = pieces.flatMap((piece) =>
      isSeen(piece) ? offers.addHeld(piece, now) : offers.add(piece, now),
    );
    this.#tell(seed, made);
  }

  /** True while another host of the idc may take the version from the seed. */
  hasRoom(seed: SeedTask, idc: string): boolean {
    const offers = this.#of(seed);
    return offers.children() < MAX_CHILDREN || offers.children(idc) < MIN_CHILDREN_OF_IDC;
  }

  /** A host of the idc begins to download the version. */
  join(seed: SeedTask, child: string, idc: string): void {
    this.#tell(seed, this.#of(seed).join(child, { idc, nowMs: this.#now() }));
  }

  /** A host is gone or needs nothing more. */
  leave(seed: SeedTask, child: string): void {
    this.#tell(seed, this.#of(seed).leave(child, this.#now()));
  }

  /** A host of the idc has the pieces. */
  seen(seed: SeedTask, pieces: readonly number[], idc: string): void {
    const offers = this.#of(seed);
    const about = { idc, nowMs: this.#now() };
    this.#tell(
      seed,
      pieces.flatMap((piece) => offers.seen(piece, about)),
    );
  }

  /** A host of the idc that had the pieces is gone, or has them no more. */
  lost(seed: SeedTask, pieces: Iterable<number>, idc: string): void {
    this.#tell(seed, this.#of(seed).lost(pieces, { idc, nowMs: this.#now() }));
  }

  [Symbol.dispose](): void {
    this.#timer.cancel();
  }

  #of(seed: SeedTask): IdcOffers {
    const { stored } = seed;
    const key = `${stored.taskId}/${stored.version}`;
    const known = this.#byVersion.get(key);
    if (known !== undefined) return known;
    const created = new IdcOffers({
      idc: this.#parts.idc,
      pieces: () => stored.pieces.indexes(),
      isHeldIn: (idc, piece) => this.#parts.isHeldIn(seed, idc, piece),
    });
    this.#byVersion.set(key, created);
    return created;
  }

  #tell({ stored, offered }: SeedTask, offers: readonly Offer[]): void {
    const byChild = new Map<string | undefined, number[]>();
    for (const { piece, to } of offers) {
      if (to === undefined) {
        const byte = offered[piece >> 3] ?? 0;
        const bit = 0x80 >> (piece & 7);
        // Hosts of another idc have shown it too.
        if ((byte & bit) !== 0) continue;
        offered[piece >> 3] = byte | bit;
      }
      const pieces = byChild.get(to);
      if (pieces === undefined) byChild.set(to, [piece]);
      else pieces.push(piece);
    }
    for (const [to, pieces] of byChild) this.#parts.pool.announce(stored, pieces, to);
  }

  #tick(): void {
    for (const [key, offers] of this.#byVersion) {
      const [task = '', version = ''] = key.split('/');
      const seed = this.#parts.find(task, version);
      if (seed === undefined || offers.isIdle) this.#byVersion.delete(key);
      else this.#tell(seed, offers.overdue(this.#now()));
    }
  }

  #now(): number {
    return this.#parts.clock.monotonic();
  }
}
