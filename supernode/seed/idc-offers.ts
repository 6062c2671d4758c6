import { Offers } from './offers.ts';
import type { Offer } from './offers.ts';

/** A host has so many pieces of other idcs on their way at a time, few in a large idc; see `core/swarm/piece-picker.ts`. */
const IMPORTS_AT_A_TIME = 2;

/** What the offers of one version work with. */
export interface IdcOffersParts {
  /** Where the seed stands; undefined: not known, as near to one idc as to another. */
  readonly idc: string | undefined;
  /** Pieces the seed has. */
  pieces(): Iterable<number>;
  /** True while a host of the idc has the piece. */
  isHeldIn(idc: string, piece: number): boolean;
}

/** An idc with hosts that take the version. */
interface Place {
  readonly idc: string;
  readonly offers: Offers;
  readonly held: Set<number>;
}

/**
 * Super-seeding over several idcs, so that about one copy goes into each: what nobody has is offered to a host of one
 * idc, that of the seed if it has any. Once a host has it, every other idc gets an importer: the one host there that is
 * offered the piece, and takes it of whom it likes; the others wait until they see it at a host of their own.
 */
export class IdcOffers {
  readonly #parts: IdcOffersParts;
  readonly #places = new Map<string, Place>();
  readonly #placeOf = new Map<string, Place>();
  /** Where new pieces go first. */
  #home: Place | undefined;
  /** Pieces that no host has shown. */
  readonly #fresh = new Set<number>();

  constructor(parts: IdcOffersParts) {
    this.#parts = parts;
  }

  /** True when there is nobody and nothing to offer. */
  get isIdle(): boolean {
    return this.#placeOf.size === 0 && this.#fresh.size === 0;
  }

  /** Children that take part, of one idc or of all. */
  children(idc?: string): number {
    if (idc === undefined) return this.#placeOf.size;
    return this.#places.get(idc)?.offers.children ?? 0;
  }

  /** A piece the seed has now and no host. */
  add(piece: number, nowMs: number): Offer[] {
    if (this.#fresh.has(piece)) return [];
    this.#fresh.add(piece);
    return this.#home?.offers.add(piece, nowMs) ?? [];
  }

  /** A piece the seed has now and a host had before: for everybody, and to be imported where nobody has it. */
  addHeld(piece: number, nowMs: number): Offer[] {
    const imports = [...this.#places.values()].flatMap(({ idc, offers, held }) => {
      if (this.#parts.isHeldIn(idc, piece)) held.add(piece);
      return held.has(piece) ? [] : offers.add(piece, nowMs);
    });
    return [{ piece, to: undefined }, ...imports];
  }

  /** A child takes part now: it is offered its share of what its idc lacks. */
  join(child: string, about: { readonly idc: string; readonly nowMs: number }): Offer[] {
    if (this.#placeOf.has(child)) return [];
    const { idc, nowMs } = about;
    const known = this.#places.get(idc);
    const place = known ?? this.#found(idc, nowMs);
    this.#placeOf.set(child, place);
    const offers = place.offers.join(child, nowMs);
    // What hosts there had before anybody took part was told to nobody, and they may be bad at giving it.
    const held = known === undefined ? [...place.held] : [];
    return this.#tellable(place, [...offers, ...held.map((piece) => ({ piece, to: undefined }))]);
  }

  /** A child is gone or complete: what was offered to it is offered to others of its idc. */
  leave(child: string, nowMs: number): Offer[] {
    const place = this.#placeOf.get(child);
    if (place === undefined) return [];
    this.#placeOf.delete(child);
    const offers = place.offers.leave(child, nowMs);
    if (place.offers.children > 0) return this.#tellable(place, offers);
    this.#places.delete(place.idc);
    if (place !== this.#home) return [];
    return this.#settle(nowMs);
  }

  /** A host of the idc has the piece. */
  seen(piece: number, about: { readonly idc: string; readonly nowMs: number }): Offer[] {
    const { idc, nowMs } = about;
    const offers: Offer[] = [];
    const place = this.#places.get(idc);
    if (this.#fresh.delete(piece)) {
      for (const other of this.#places.values()) {
        if (other !== place && !other.held.has(piece))
          offers.push(...other.offers.add(piece, nowMs));
      }
    }
    if (place === undefined || place.held.has(piece)) return offers;
    place.held.add(piece);
    return [...offers, ...this.#tellable(place, place.offers.seen(piece, nowMs))];
  }

  /** A host of the idc that had these is gone: what nobody else there has is offered again. */
  lost(pieces: Iterable<number>, about: { readonly idc: string; readonly nowMs: number }): Offer[] {
    const { idc, nowMs } = about;
    const place = this.#places.get(idc);
    if (place === undefined) return [];
    return [...pieces].flatMap((piece) => {
      if (this.#parts.isHeldIn(idc, piece) || !place.held.delete(piece)) return [];
      return place.offers.add(piece, nowMs);
    });
  }

  /** Pieces that were offered in vain for too long; call it now and then. */
  overdue(nowMs: number): Offer[] {
    return [...this.#places.values()].flatMap((place) => {
      const offers = place.offers.overdue(nowMs);
      if (!this.#isFar(place)) return this.#tellable(place, offers);
      // Each of them was tried in vain: from the first again.
      return offers.flatMap((offer) => {
        if (offer.to !== undefined) return [offer];
        return place.held.has(offer.piece) ? [] : place.offers.add(offer.piece, nowMs);
      });
    });
  }

  #found(idc: string, nowMs: number): Place {
    const place: Place = { idc, offers: this.#offersFor(idc), held: new Set() };
    this.#places.set(idc, place);
    for (const piece of this.#parts.pieces()) {
      if (this.#fresh.has(piece)) continue;
      if (this.#parts.isHeldIn(idc, piece)) place.held.add(piece);
      else place.offers.add(piece, nowMs);
    }
    if (this.#home === undefined || idc === this.#parts.idc) this.#settle(nowMs);
    return place;
  }

  /** What hosts there fetch of the seed they ask for at once; what they import a few at a time. */
  #offersFor(idc: string): Offers {
    const isHome = this.#home === undefined || idc === this.#parts.idc;
    return new Offers(isHome ? {} : { unbegunAfter: IMPORTS_AT_A_TIME });
  }

  /** Finds where new pieces go first, and takes there what nobody has shown. */
  #settle(nowMs: number): Offer[] {
    const { idc = '' } = this.#parts;
    const home = this.#places.get(idc) ?? this.#places.values().next().value;
    this.#home = home;
    if (home === undefined) return [];
    return [...this.#fresh].flatMap((piece) => home.offers.add(piece, nowMs));
  }

  /** Hosts of other idcs than the seed's are not told that they may take a piece, each as it likes. */
  #tellable(place: Place, offers: Offer[]): Offer[] {
    return place === this.#home ? offers : offers.filter(({ to }) => to !== undefined);
  }

  #isFar({ idc }: Place): boolean {
    return this.#parts.idc !== undefined && this.#parts.idc !== idc;
  }
}
