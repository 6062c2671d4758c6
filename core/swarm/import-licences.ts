import type { Random } from '../base/random.ts';
import { Bitfield } from '../piece/bitfield.ts';
import { ownOriginPieces } from './split-origin.ts';

/** Looks across are this far apart. */
const LOOK_MS = 250;
/** Nothing came for so long: what falls to a neighbour falls to the next in line too. */
const REASSIGN_MS = 2_000;
/** Nothing came, and nobody is asked, for so long, and by chance up to twice as long: a host helps itself, piece by piece. */
const CUT_OFF_MS = 15_000;

/**
 * Which pieces this host may take of other idcs: those that the seed says it is to import; without a supernode its
 * share by rendezvous hash among itself and its neighbours of the idc; and one now and then when it is cut off.
 */
export class ImportLicences {
  /** May be imported, and no linked host of the own idc has it: kept by the picker. */
  readonly due: Bitfield;
  readonly #granted: Bitfield;
  readonly #self: string;
  #cutOffMs: number | undefined;
  readonly #random: Random;
  readonly #neighbours = new Set<string>();
  #lookAtMs = Number.NEGATIVE_INFINITY;
  #progressMs: number | undefined;
  /** Neighbours have changed: the share is to be found again. */
  #isStale = true;
  #sharedMs = Number.NEGATIVE_INFINITY;

  constructor(options: {
    readonly pieces: number;
    readonly random: Random;
    readonly self?: string;
  }) {
    this.due = new Bitfield(options.pieces);
    this.#granted = new Bitfield(options.pieces);
    this.#self = options.self ?? '';
    this.#random = options.random;
  }

  /** True when it was not granted before. */
  grant(piece: number): boolean {
    return piece < this.#granted.length && this.#granted.set(piece);
  }

  has(piece: number): boolean {
    return this.#granted.has(piece);
  }

  /** A neighbour of the own idc is linked. */
  met(peer: string): void {
    this.#neighbours.add(peer);
    this.#isStale = true;
  }

  lost(peer: string): void {
    this.#neighbours.delete(peer);
    this.#isStale = true;
  }

  /** A piece came. */
  progressed(): void {
    this.#progressMs = undefined;
  }

  /** True now and then, so that looking costs little. */
  isLookDue(nowMs: number): boolean {
    if (nowMs < this.#lookAtMs) return false;
    this.#lookAtMs = nowMs + LOOK_MS;
    this.#progressMs ??= nowMs;
    return true;
  }

  /** With no supernode: of the pieces that are open, those that fall to this host; now and then it may be more. */
  shareNow(nowMs: number, open: Iterable<number>): readonly number[] {
    if (!this.#isStale && nowMs - this.#sharedMs < REASSIGN_MS) return [];
    this.#isStale = false;
    this.#sharedMs = nowMs;
    const patience = Math.floor(this.#waitedMs(nowMs) / REASSIGN_MS);
    const others = [...this.#neighbours];
    return ownOriginPieces([...open], { self: this.#self, others, patience });
  }

  /** True when nothing has come for long: the host may help itself to one piece, and then waits again. */
  isCutOff(nowMs: number): boolean {
    this.#cutOffMs ??= CUT_OFF_MS * (1 + this.#random.next());
    if (this.#waitedMs(nowMs) < this.#cutOffMs) return false;
    this.#progressMs = nowMs;
    return true;
  }

  #waitedMs(nowMs: number): number {
    return nowMs - (this.#progressMs ?? nowMs);
  }
}
