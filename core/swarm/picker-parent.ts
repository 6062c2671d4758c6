import { Bitfield } from '../piece/bitfield.ts';
import { ResponseTime } from './response-time.ts';
import { ServiceTime } from './service-time.ts';

/** Requests in flight to one parent: one that is sent, one that waits. */
const MIN_SLOTS = 2;
const MAX_SLOTS = 64;
/** Longer than any line. */
const FAR_FIRST = 1e9;

/** A linked parent as the picker sees it. */
export class PickerParent {
  readonly peer: string;
  readonly role: 'peer' | 'seed';
  /** It stands in another idc: what comes of it crosses a link that all there share. */
  readonly isFar: boolean;
  readonly pieces: Bitfield;
  readonly response = new ResponseTime();
  readonly service = ServiceTime.ofOne();
  /** Of the seed: pieces it offers to this host before others, and since when a far one does; NaN: not noted yet. */
  readonly offered = new Map<number, number>();
  /** Those of them that can be asked for. */
  readonly offers = new Set<number>();
  /** Pieces it has that can be asked for; of one that is far those that are to be imported. */
  useful = 0;
  inFlight = 0;
  /** Requests that wait in its line, as it last said, and those made of it since. */
  load = 0;
  /** It is not to be asked now: busy, or it stalls. */
  isResting = false;

  constructor(about: {
    readonly peer: string;
    readonly role: 'peer' | 'seed';
    readonly isFar: boolean;
    readonly pieces: number;
  }) {
    this.peer = about.peer;
    this.role = about.role;
    this.isFar = about.isFar;
    this.pieces = new Bitfield(about.pieces);
  }

  /** A host of the own idc; the seed is none. */
  get isNearPeer(): boolean {
    return this.role === 'peer' && !this.isFar;
  }

  /** What is on the way at its rate, and two: one that it sends, one that waits. */
  get isAskable(): boolean {
    if (this.isResting) return false;
    return this.inFlight < Math.min(MAX_SLOTS, MIN_SLOTS + Math.round(this.response.onWay));
  }

  /** It may be asked, and there is something to ask it for. */
  gives(isSeedFree: boolean): boolean {
    if (this.role === 'peer') return this.useful > 0 && this.isAskable;
    if (this.offers.size > 0) return this.isAskable;
    return isSeedFree && !this.isFar && this.useful > 0 && this.isAskable;
  }

  /**
   * Who costs less is asked first: what the seed offers, then what the idc lacks, otherwise who is sooner done with its
   * line and one more.
   */
  cost(usual: ServiceTime): number {
    if (this.role === 'seed') {
      return this.offers.size > 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
    }
    return this.isFar ? this.load - FAR_FIRST : (this.load + 1) * this.service.beside(usual);
  }

  /** What the last request in its line costs. */
  costBehind(usual: ServiceTime): number {
    return this.load * this.service.beside(usual);
  }
}
