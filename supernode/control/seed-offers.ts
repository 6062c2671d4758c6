import type { Clock, Timer } from '../../core/base/clock.ts';
import type { TransferPool } from '../../core/swarm/transfer-pool.ts';
import { Offers } from '../seed/offers.ts';
import type { Offer } from '../seed/offers.ts';
import type { SeedTask } from '../seed/seed-task.ts';

const OVERDUE_TICK_MS = 500;
/** Hosts that take a version from the seed at a time; the link of each costs it memory, and few spread a piece as well. */
const MAX_CHILDREN = 200;

export interface SeedOffersParts {
  readonly pool: TransferPool;
  readonly clock: Clock;
  /** The version, if it is alive in the seed. */
  find(task: string, version: string): SeedTask | undefined;
}

/** Super-seeding of all versions: whom the seed tells of which piece, and the workers that tell it. */
export class SeedOffers implements Disposable {
  readonly #parts: SeedOffersParts;
  readonly #byVersion = new Map<string, Offers>();
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
      isSeen(piece) ? [{ piece, to: undefined }] : offers.add(piece, now),
    );
    this.#tell(seed, made);
  }

  /** True while another host may take the version from the seed. */
  hasRoom(seed: SeedTask): boolean {
    return this.#of(seed).children < MAX_CHILDREN;
  }

  /** A host begins to download the version. */
  join(seed: SeedTask, child: string): void {
    this.#tell(seed, this.#of(seed).join(child, this.#now()));
  }

  /** A host is gone or needs nothing more. */
  leave(seed: SeedTask, child: string): void {
    this.#tell(seed, this.#of(seed).leave(child, this.#now()));
  }

  /** Hosts have the pieces. */
  seen(seed: SeedTask, pieces: readonly number[]): void {
    const offers = this.#of(seed);
    const now = this.#now();
    this.#tell(
      seed,
      pieces.flatMap((piece) => offers.seen(piece, now)),
    );
  }

  [Symbol.dispose](): void {
    this.#timer.cancel();
  }

  #of({ stored }: SeedTask): Offers {
    const key = `${stored.taskId}/${stored.version}`;
    const known = this.#byVersion.get(key);
    if (known !== undefined) return known;
    const created = new Offers();
    this.#byVersion.set(key, created);
    return created;
  }

  #tell({ stored, offered }: SeedTask, offers: readonly Offer[]): void {
    const byChild = new Map<string | undefined, number[]>();
    for (const { piece, to } of offers) {
      if (to === undefined)
        offered[piece >> 3] = (offered[piece >> 3] ?? 0) | (0x80 >> (piece & 7));
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
