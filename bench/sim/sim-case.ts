/** One swarm in virtual time. Rates are payload bytes per second. */
export interface SimCase {
  readonly hosts: number;
  /** Bytes. */
  readonly size: number;
  /** Of every host. */
  readonly up: number;
  readonly down: number;
  /** What the seed sends. */
  readonly seedUp: number;
  /** What the origin gives to the seed. */
  readonly originRate: number;
  /** One way, between any two. */
  readonly delayMs: number;
  /** Hosts join one after the other within this time. */
  readonly joinOverMs: number;
  /** When each host joins; undefined: as `joinOverMs` says. */
  readonly joinAtMs: readonly number[] | undefined;
  /** So many hosts, the last ones, at this part of the rates. */
  readonly slow: { readonly hosts: number; readonly factor: number } | undefined;
  /** Share of the hosts, the last ones, that die when the middle one of all has half. */
  readonly kill: number;
  /** From a death to the moment when those linked know of it; a killed process is known at once. */
  readonly noticeMs: number;
  /** The supernode, and its seed with it, ends at a moment and is back so much later; undefined: it lives. */
  readonly lose: { readonly atMs: number; readonly backMs: number } | undefined;
  readonly idcs: number;
  /** Of the link between the first idc, where the seed is, and each other one, each way; undefined: never in the way. */
  readonly thin: number | undefined;
  /** Seed of all chance: the same case with the same seed ends the same. */
  readonly random: number;
  /** Parts that a piece is sent in: what takes turns on a card. */
  readonly blocks: number;
  /** Hosts that a host sends to at a time. */
  readonly maxActive: number;
}

/** The name of an idc, by its number from 0. */
export function idcName(idc: number): string {
  return `idc${idc}`;
}

/** A case in which every rate is the same and nothing goes wrong. */
export function simCase(
  about: { readonly hosts: number; readonly size: number; readonly rate: number },
  others: Partial<SimCase> = {},
): SimCase {
  const { hosts, size, rate } = about;
  return {
    hosts,
    size,
    up: rate,
    down: rate,
    seedUp: rate,
    originRate: rate,
    delayMs: 0.2,
    joinOverMs: 0,
    joinAtMs: undefined,
    slow: undefined,
    kill: 0,
    noticeMs: 0,
    lose: undefined,
    idcs: 1,
    thin: undefined,
    random: 1,
    blocks: 4,
    maxActive: 4,
    ...others,
  };
}
