import { backoffMs } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import type { CodedError } from '../base/error.ts';
import type { Random } from '../base/random.ts';
import type { OriginReader, TakenPieces } from './origin-reader.ts';

/** Whether and how this host goes to the origin for the task. */
export type OriginPolicy =
  /** The seed does it. */
  | 'never'
  /** Only while no supernode answers, sharing the work with the linked hosts. */
  | 'when-orphaned'
  /** All of it, alone. */
  | 'alone';

/** A supernode that is away for less is not missed. */
const ORPHAN_AFTER_MS = 1_500;
/** After each such time without progress, what is next in line for others is taken too. */
const PATIENCE_MS = 5_000;
/** After a failure that other hosts may not have, the origin is left alone for so long. */
const REST = { firstMs: 5_000, maxMs: 60_000 };
/** A thread of this program that ended is replaced in less; without progress only so often is it counted on. */
const REPLACED = { firstMs: 250, maxMs: 5_000 };
const MAX_REPLACED = 5;
const PASSING: ReadonlySet<string> = new Set([
  'ERR_BUSY',
  'ERR_ORIGIN_FAILING',
  'ERR_ORIGIN_FORBIDDEN',
  'ERR_ORIGIN_SHORT',
  'ERR_ORIGIN_STALLED',
  'ERR_ORIGIN_UNREACHABLE',
]);

/** What the linked hosts do for the task. */
export interface LinkedHosts extends TakenPieces {
  /** Hosts, seeds aside, with whom the work is shared. */
  readonly peers: readonly { readonly peer: string; has(piece: number): boolean }[];
  readonly lastProgressMs: number;
  /** True when the digest of a piece is known, so that it can be taken from a host. */
  readonly isKnown: (piece: number) => boolean;
}

/** When this host goes to the origin for one task, and for which pieces. */
export class OriginTurn {
  readonly #reader: OriginReader;
  readonly #clock: Clock;
  readonly #random: Random;
  #policy: OriginPolicy;
  #orphanSinceMs: number | undefined;
  #restsUntilMs = Number.NEGATIVE_INFINITY;
  #failures = 0;

  constructor(
    reader: OriginReader,
    options: { readonly policy: OriginPolicy; readonly clock: Clock; readonly random: Random },
  ) {
    this.#reader = reader;
    this.#policy = options.policy;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  /** True: linked hosts are not asked for anything. */
  get isAlone(): boolean {
    return this.#policy === 'alone';
  }

  /** True while this host may read its share because no supernode answers. */
  get mayShare(): boolean {
    return this.#policy === 'when-orphaned' && this.#orphanSinceMs !== undefined;
  }

  /** False when going to the origin was forbidden. */
  get mayGoAlone(): boolean {
    return this.#policy !== 'never';
  }

  goAlone(): void {
    this.#policy = 'alone';
  }

  /** Notes whether a supernode answers; true when this is the moment it went away. */
  supervise(isSupervised: boolean): boolean {
    if (isSupervised) {
      this.#orphanSinceMs = undefined;
      return false;
    }
    if (this.#orphanSinceMs !== undefined || this.isAlone) return false;
    this.#orphanSinceMs = this.#clock.monotonic();
    return true;
  }

  /** Begins what is to be read now. */
  take(hosts: LinkedHosts): void {
    const now = this.#clock.monotonic();
    if (now < this.#restsUntilMs) return;
    if (this.isAlone) this.#reader.readAll(hosts);
    const orphanSinceMs = this.#orphanSinceMs;
    if (!this.mayShare || orphanSinceMs === undefined) return;
    if (now - orphanSinceMs < ORPHAN_AFTER_MS) return;
    const waitedMs = now - Math.max(hosts.lastProgressMs, orphanSinceMs);
    const patience = Math.floor(waitedMs / PATIENCE_MS);
    // What others have is of no use here as long as nobody whom this host believes tells its digest.
    const isUseful = (piece: number): boolean => patience < 2 || hosts.isKnown(piece);
    this.#reader.readShare({
      others: hosts.peers.map(({ peer }) => peer),
      patience,
      isTaken: (piece) =>
        hosts.isTaken(piece) || (isUseful(piece) && hosts.peers.some((host) => host.has(piece))),
      isAnyAsked: hosts.isAnyAsked,
    });
  }

  /**
   * True when a failure to read from the origin ends nothing, because the pieces may come from elsewhere, or because
   * it was this program's own: then the origin rests for a while.
   */
  rests(error: CodedError, options: { readonly mayComeElsewhere: boolean }): boolean {
    const isOwn = error.code === 'ERR_WORKER';
    if (isOwn && this.#failures >= MAX_REPLACED) return false;
    if (!isOwn && (this.#policy !== 'when-orphaned' || !PASSING.has(error.code))) return false;
    if (!isOwn && !options.mayComeElsewhere) return false;
    const restMs = backoffMs(this.#failures, isOwn ? REPLACED : REST, this.#random);
    this.#restsUntilMs = this.#clock.monotonic() + restMs;
    this.#failures += 1;
    return true;
  }

  /** A piece came, from wherever. */
  progressed(): void {
    this.#failures = 0;
  }
}
