/** A network stack with nothing else on it: where a program runs, and how a command line gets there. */
export interface Place {
  readonly address: string;
  /** What the command line begins with. */
  readonly enter: readonly string[];
}

/** Places for all programs of a cluster; without them everything is on this machine's loopback. */
export interface Places {
  readonly supernode: Place;
  /** Of the host with this number, from 1. */
  readonly host: (number: number) => Place;
  /** Addresses that origins are in, as CIDR. */
  readonly origins: string;
}
