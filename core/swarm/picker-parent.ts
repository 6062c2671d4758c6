import { Bitfield } from '../piece/bitfield.ts';
import { ResponseTime } from './response-time.ts';

/** Requests in flight to one parent: one that is sent, one that waits. */
const MIN_SLOTS = 2;
const MAX_SLOTS = 64;

/** A linked parent as the picker sees it. */
export class PickerParent {
  readonly peer: string;
  readonly role: 'peer' | 'seed';
  readonly pieces: Bitfield;
  readonly response = new ResponseTime();
  /** Of the seed: pieces it offers to this host before others. */
  readonly offered = new Set<number>();
  /** Those of them that can be asked for. */
  readonly offers = new Set<number>();
  /** Pieces it has that can be asked for. */
  useful = 0;
  inFlight = 0;
  /** Requests that wait in its line, as it last said, and those made of it since. */
  load = 0;
  /** It is not to be asked now: busy, or it stalls. */
  isResting = false;

  constructor(about: { readonly peer: string; readonly role: 'peer' | 'seed'; pieces: number }) {
    this.peer = about.peer;
    this.role = about.role;
    this.pieces = new Bitfield(about.pieces);
  }

  /** What is on the way at its rate, and two: one that it sends, one that waits. */
  get isAskable(): boolean {
    if (this.isResting) return false;
    return this.inFlight < Math.min(MAX_SLOTS, MIN_SLOTS + Math.round(this.response.onWay));
  }

  /** It may be asked, and there is something to ask it for. */
  gives(isSeedFree: boolean): boolean {
    if (this.role === 'seed' && this.offers.size > 0) return this.isAskable;
    return this.useful > 0 && (this.role === 'peer' || isSeedFree) && this.isAskable;
  }

  /** Who costs less is asked first: what the seed offers before all, otherwise the shorter line. */
  get cost(): number {
    if (this.role === 'seed') return this.offers.size > 0 ? -1 : Number.POSITIVE_INFINITY;
    return this.load;
  }
}
