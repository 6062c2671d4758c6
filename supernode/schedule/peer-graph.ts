// Who links with whom among the hosts that take one version. A newcomer links with a few of those that have the fewest
// links, so in effect the graph is random and regular: about as many links as anybody else for each, few steps from
// any to any, no hot spots and no islands. All of it is decided here, without I/O; what it costs depends on the links
// of one host, never on how many there are.
import type { Random } from '../../core/base/random.ts';

/** Two hosts that are to link, or are linked; the newcomer first. */
export type PeerLink = readonly [peer: string, other: string];

/** Links a newcomer makes within its idc; others that come later bring as many again. */
const JOIN_LINKS = 14;
/**
 * The last to come have only those, and end after all others: `level()` gives them so many, of each other. Made by
 * newcomers themselves they would fill all places, and the last would find nobody: with 18 for each they end last by far.
 */
const LEVEL_LINKS = 20;
/** `level()` is due when nobody has come for so long. */
export const LEVEL_AFTER_MS = 500;
/** Of 300 that come together some 40 have fewer. */
const MAX_LEVELLED = 500;
/** Up to so many hosts all link with all. */
const MESH_HOSTS = 21;
/** Links within the idc at most. */
const MAX_LINKS = 36;
/** A host that falls below is given links again, up to those a newcomer has. */
const LOW_LINKS = 8;
/** Hosts looked at for each link: of two the lesser evens links out, of four they hardly differ. */
const SAMPLES = 4;
/** Looked at one after the other when none of the samples will do, as in small idcs. */
const MAX_LOOKED_AT = 64;
/** Links a newcomer makes with other idcs, and most that any host has. */
const JOIN_ACROSS = 2;
const MAX_ACROSS = 6;
/** What `more()` gives at a time, beyond the most if need be. */
const MORE_LINKS = 4;
const MORE_BEYOND = 10;

interface Member {
  readonly peer: string;
  readonly place: Place;
  /** Its index among the members of its idc. */
  at: number;
  readonly near: Set<Member>;
  readonly far: Set<Member>;
}

/** An idc. Places stand in a ring, and neighbours in it always have a link, so that none becomes an island. */
interface Place {
  readonly idc: string;
  readonly members: Member[];
  /** Links with each other place. */
  readonly links: Map<Place, number>;
  /** Its index in the ring. */
  at: number;
}

interface Wanted {
  /** Links there are to be afterwards. */
  readonly upTo: number;
  /** Asked for by a host that is stuck: may go beyond the usual most, but not to these. */
  readonly avoid?: ReadonlySet<string> | undefined;
}

/** The links among hosts that take one version. */
export class PeerGraph {
  readonly #random: Random;
  readonly #members = new Map<string, Member>();
  readonly #places = new Map<string, Place>();
  readonly #placeList: Place[] = [];
  /** Those that had few links when `level()` last looked, and who has come since. */
  readonly #young = new Set<Member>();

  constructor(options: { readonly random: Random }) {
    this.#random = options.random;
  }

  get size(): number {
    return this.#members.size;
  }

  has(peer: string): boolean {
    return this.#members.has(peer);
  }

  /** Whom a peer is linked with, those of its own idc first. */
  linksOf(peer: string): string[] {
    const member = this.#members.get(peer);
    if (member === undefined) return [];
    return [...member.near, ...member.far].map((other) => other.peer);
  }

  /** A peer takes part; returns the links to make, none if it was there. */
  join(peer: string, idc = ''): PeerLink[] {
    if (this.#members.has(peer)) return [];
    const place = this.#placeFor(idc);
    const { members } = place;
    const member: Member = { peer, place, at: members.length, near: new Set(), far: new Set() };
    const others = members.length < MESH_HOSTS ? [...members] : undefined;
    members.push(member);
    this.#members.set(peer, member);
    this.#young.add(member);
    const made =
      others?.map((other) => linkNear(member, other)) ??
      this.#linkNear(member, { upTo: JOIN_LINKS });
    made.push(...this.#linkFar(member, { upTo: JOIN_ACROSS }));
    return [...made, ...this.#bridgesAround(place.at)];
  }

  /** A peer is gone; returns links that make up for those that others lost with it. */
  leave(peer: string): PeerLink[] {
    const member = this.#members.get(peer);
    if (member === undefined) return [];
    this.#members.delete(peer);
    this.#young.delete(member);
    for (const other of member.near) other.near.delete(member);
    for (const other of member.far) {
      other.far.delete(member);
      countFar(member, other, -1);
    }
    const { at } = member.place;
    this.#leavePlace(member);
    const made: PeerLink[] = [];
    for (const other of member.near) {
      if (other.near.size < LOW_LINKS) made.push(...this.#linkNear(other, { upTo: JOIN_LINKS }));
    }
    for (const other of member.far) made.push(...this.#linkFar(other, { upTo: JOIN_ACROSS }));
    return [...made, ...this.#bridgesAround(at), ...this.#bridgesAround(0)];
  }

  /** Nobody has come for a moment: those who came last and have few links get some of each other. */
  level(): PeerLink[] {
    const made: PeerLink[] = [];
    for (const member of this.#young) {
      const isSmall = member.place.members.length <= MESH_HOSTS;
      if (isSmall || member.near.size >= LEVEL_LINKS) this.#young.delete(member);
    }
    const young = [...this.#young].slice(-MAX_LEVELLED);
    for (const member of young) {
      const fit = young.filter(
        (other) => other !== member && other.place === member.place && !member.near.has(other),
      );
      while (member.near.size < LEVEL_LINKS && fit.length > 0) {
        const [other] = fit.splice(this.#random.below(fit.length), 1);
        if (other !== undefined && other.near.size < LEVEL_LINKS)
          made.push(linkNear(member, other));
      }
    }
    return made;
  }

  /** A peer gets nothing from those it is linked with: a few links more, with none of `avoid`. */
  more(peer: string, avoid: ReadonlySet<string> = new Set()): PeerLink[] {
    const member = this.#members.get(peer);
    if (member === undefined) return [];
    const upTo = Math.min(member.near.size + MORE_LINKS, MAX_LINKS + MORE_BEYOND);
    const made = this.#linkNear(member, { upTo, avoid });
    return made.length > 0 ? made : this.#linkFar(member, { upTo: member.far.size + 1, avoid });
  }

  /** Links within the idc until there are `upTo`, or nobody suitable is found. */
  #linkNear(member: Member, { upTo, avoid }: Wanted): PeerLink[] {
    const made: PeerLink[] = [];
    const { members } = member.place;
    const isFit = (other: Member): boolean =>
      other !== member &&
      other.near.size < MAX_LINKS + (avoid === undefined ? 0 : MORE_BEYOND) &&
      !member.near.has(other) &&
      avoid?.has(other.peer) !== true;
    while (member.near.size < upTo) {
      const other = this.#leastLinked(members, isFit, nearLinks) ?? this.#nextFit(members, isFit);
      if (other === undefined) break;
      made.push(linkNear(member, other));
    }
    return made;
  }

  /** Links to hosts of other idcs, each chosen by chance, until there are `upTo`. */
  #linkFar(member: Member, { upTo, avoid }: Wanted): PeerLink[] {
    const made: PeerLink[] = [];
    const others = this.#placeList.length - 1;
    const isFit = (other: Member): boolean =>
      other.far.size < MAX_ACROSS && !member.far.has(other) && avoid?.has(other.peer) !== true;
    for (let tries = 0; others > 0 && member.far.size < upTo && tries < 2 * upTo; tries += 1) {
      // Any idc but its own.
      const at = (member.place.at + 1 + this.#random.below(others)) % this.#placeList.length;
      const { members = [] } = this.#placeList[at] ?? {};
      const other = this.#leastLinked(members, isFit, farLinks);
      if (other !== undefined) made.push(linkFar(member, other));
    }
    return made;
  }

  /** Of a few chosen by chance, the one with the fewest links. */
  #leastLinked(
    members: readonly Member[],
    isFit: (other: Member) => boolean,
    links: (other: Member) => number,
  ): Member | undefined {
    let least: Member | undefined;
    for (let sample = 0; sample < SAMPLES; sample += 1) {
      const other = members[this.#random.below(members.length)];
      if (other === undefined || !isFit(other)) continue;
      if (least === undefined || links(other) < links(least)) least = other;
    }
    return least;
  }

  /** The first of a few in a row that will do. */
  #nextFit(members: readonly Member[], isFit: (other: Member) => boolean): Member | undefined {
    const from = this.#random.below(members.length);
    for (let step = 0; step < Math.min(members.length, MAX_LOOKED_AT); step += 1) {
      const other = members[(from + step) % members.length];
      if (other !== undefined && isFit(other)) return other;
    }
    return undefined;
  }

  /** Links that are missing between a place of the ring and those beside it. */
  #bridgesAround(at: number): PeerLink[] {
    const made: PeerLink[] = [];
    const { length } = this.#placeList;
    if (length < 2) return made;
    for (const side of [at - 1, at]) {
      const place = this.#placeList[(side + length) % length];
      const next = this.#placeList[(side + 1) % length];
      if (place === undefined || next === undefined || (place.links.get(next) ?? 0) > 0) continue;
      const one = this.#leastLinked(place.members, () => true, farLinks);
      const other = this.#leastLinked(next.members, () => true, farLinks);
      if (one !== undefined && other !== undefined) made.push(linkFar(one, other));
    }
    return made;
  }

  #placeFor(idc: string): Place {
    const known = this.#places.get(idc);
    if (known !== undefined) return known;
    const place: Place = { idc, members: [], links: new Map(), at: this.#placeList.length };
    this.#places.set(idc, place);
    this.#placeList.push(place);
    return place;
  }

  #leavePlace({ place, at }: Member): void {
    const { members } = place;
    const last = members.pop();
    if (last !== undefined && at < members.length) {
      members[at] = last;
      last.at = at;
    }
    if (members.length > 0) return;
    this.#places.delete(place.idc);
    const lastPlace = this.#placeList.pop();
    if (lastPlace === undefined || lastPlace === place) return;
    this.#placeList[place.at] = lastPlace;
    lastPlace.at = place.at;
  }
}

function nearLinks({ near }: Member): number {
  return near.size;
}

function farLinks({ far }: Member): number {
  return far.size;
}

function linkNear(member: Member, other: Member): PeerLink {
  member.near.add(other);
  other.near.add(member);
  return [member.peer, other.peer];
}

function linkFar(member: Member, other: Member): PeerLink {
  member.far.add(other);
  other.far.add(member);
  countFar(member, other, 1);
  return [member.peer, other.peer];
}

function countFar(member: Member, other: Member, by: number): void {
  for (const [from, to] of [
    [member.place, other.place],
    [other.place, member.place],
  ] as const) {
    const links = (from.links.get(to) ?? 0) + by;
    if (links > 0) from.links.set(to, links);
    else from.links.delete(to);
  }
}
