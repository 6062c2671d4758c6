/** What no swarm can beat; all rates are payload bytes per second. */
export interface SwarmShape {
  /** Bytes. */
  readonly length: number;
  readonly pieces: number;
  /** Upload of whoever has it at first. */
  readonly sourceUp: number;
  readonly hosts: readonly { readonly up: number; readonly down: number }[];
}

/** Seconds that hosts need at least, if content were a fluid: max(F/Us, F/d, N·F/(Us+Σu)). */
export function fluidLimit({ length, sourceUp, hosts }: SwarmShape): number {
  const slowest = Math.min(...hosts.map(({ down }) => down));
  const allUp = hosts.reduce((sum, { up }) => sum + up, sourceUp);
  return Math.max(length / sourceUp, length / slowest, (hosts.length * length) / allUp);
}

/** Seconds until the last of equal hosts has all pieces: F/B·(1+⌊log2 N⌋/P). */
export function pieceLimit(
  { length, pieces }: Pick<SwarmShape, 'length' | 'pieces'>,
  { hosts, rate }: { readonly hosts: number; readonly rate: number },
): number {
  return (length / rate) * (1 + Math.floor(Math.log2(hosts)) / pieces);
}

/**
 * Seconds until those that survive have all of it, when others are killed after `killedAfter` seconds and what they
 * could have sent until then may all have gone to survivors.
 */
export function survivorLimit(
  shape: SwarmShape,
  killed: { readonly after: number; readonly up: readonly number[] },
): number {
  const { length, sourceUp, hosts } = shape;
  const givenBefore = killed.up.reduce((sum, up) => sum + up * killed.after, 0);
  const allUp = hosts.reduce((sum, { up }) => sum + up, sourceUp);
  const slowest = Math.min(...hosts.map(({ down }) => down));
  const shared = (hosts.length * length - givenBefore) / allUp;
  return Math.max(length / sourceUp, length / slowest, shared);
}

/** The value that this share of sorted values does not exceed; NaN of none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** What came over links, over what one TCP stream needs there for so much content; `rate` in bits a second on the wire. */
export function overOneStream(
  bytes: { readonly wire: number; readonly content: number },
  { rate, goodput }: { readonly rate: number; readonly goodput: number },
): number {
  return bytes.wire / (bytes.content * (rate / 8 / goodput));
}
