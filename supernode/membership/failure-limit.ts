import { isIPv6 } from 'node:net';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';

/** Failures one address may have at once; a fleet behind one address shares them. */
const BURST = 30;
/** One more failure is forgiven each time this has passed. */
const FORGIVE_MS = 2_000;
const MAX_ADDRESSES = 10_000;

interface Failures {
  readonly count: number;
  readonly sinceMs: number;
}

/**
 * Bounds what failed attempts cost us, by address. Secrets have 256 bits and are not guessed; but each attempt costs
 * a look-up and a line in the log.
 */
export class FailureLimit {
  readonly #clock: Clock;
  readonly #failures = new LRUCache<string, Failures>({ max: MAX_ADDRESSES });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Throws ERR_BUSY, with the wait, when the address has failed too often of late. */
  check(address: string): void {
    const excess = this.#count(address) - BURST + 1;
    if (excess <= 0) return;
    const retryAfterMs = Math.ceil(excess * FORGIVE_MS);
    throw new CodedError('ERR_BUSY', `too many failed attempts from ${address}`, {
      detail: { retryAfterMs },
    });
  }

  failed(address: string): void {
    const count = this.#count(address) + 1;
    this.#failures.set(networkOf(address), { count, sinceMs: this.#clock.monotonic() });
  }

  #count(address: string): number {
    const known = this.#failures.get(networkOf(address));
    if (known === undefined) return 0;
    return Math.max(0, known.count - (this.#clock.monotonic() - known.sinceMs) / FORGIVE_MS);
  }
}

/** A host has a whole /64 of v6 addresses to itself: they count as one. */
function networkOf(address: string): string {
  if (!isIPv6(address) || address.includes('.')) return address;
  const [head = '', tail] = address.split('%', 1)[0]?.split('::') ?? [];
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array.from({ length: Math.max(zeros, 0) }, () => '0'), ...right];
  return groups.slice(0, 4).join(':');
}
