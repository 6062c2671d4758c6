/** What became of a request to the forward proxy, or a CONNECT: `failed` is one that got nothing but an error of ours. */
export type ProxyOutcome = 'mesh' | 'direct' | 'reject' | 'tunnel' | 'failed';

/** Counts what the forward proxy did since the start. */
export class ForwardCounts {
  readonly #counts = new Map<ProxyOutcome, number>();

  add(outcome: ProxyOutcome): void {
    this.#counts.set(outcome, (this.#counts.get(outcome) ?? 0) + 1);
  }

  /** All that are not zero. */
  all(): ReadonlyMap<ProxyOutcome, number> {
    return this.#counts;
  }
}
