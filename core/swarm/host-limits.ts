import type { Clock } from '../base/clock.ts';
import { RateLimiter } from '../net/pacing.ts';
import type { OriginHostLimit } from '../origin/origin-host-limit.ts';
import { PartLimits } from './part-limits.ts';

/** What a host may move a second, in bytes; 0 is no limit. */
export interface RateLimits {
  /** Payload taken from other hosts. */
  readonly download: number;
  /** Payload sent to other hosts. */
  readonly upload: number;
  /** Payload taken from origins. */
  readonly origin: number;
}

/** The names of the limits of a host. */
export const limitNames = ['download', 'upload', 'origin'] as const;

/** What a limit did since the start, bytes. */
export interface Passage {
  readonly passed: number;
  readonly held: number;
  /** Somebody waits at this moment. */
  readonly isHolding: boolean;
}

/** This host's part of what the whole cell may move; absent where the cell has no limit, 0 is nothing at all. */
export interface CellShare {
  readonly download?: number | undefined;
  readonly origin?: number | undefined;
}

/** Slowest that a limiter goes: nothing moves at it, and its waiters go on as soon as it is raised. */
const STANDSTILL = 1;

/**
 * The limits of a host: its own, its share of those of the cell, and what other programs of its machine leave it. The
 * lowest is in force, at once, in all threads that were given the memory of the limiter.
 */
export class HostLimits {
  readonly limiters: Readonly<Record<keyof RateLimits, RateLimiter>>;
  /** Of what comes from each host of origins, and from hosts of each idc. */
  readonly parts: PartLimits;
  #own: RateLimits;
  #share: CellShare = {};
  #ceilings: RateLimits = { download: 0, upload: 0, origin: 0 };

  constructor(own: RateLimits, clock: Clock, originHosts: readonly OriginHostLimit[] = []) {
    this.#own = own;
    this.parts = new PartLimits(originHosts, clock);
    this.limiters = {
      download: new RateLimiter(own.download, clock),
      upload: new RateLimiter(own.upload, clock),
      origin: new RateLimiter(own.origin, clock),
    };
  }

  /** As they were set on this host. */
  get own(): RateLimits {
    return this.#own;
  }

  get share(): CellShare {
    return this.#share;
  }

  /** The most that other programs of this machine leave us. */
  get ceilings(): RateLimits {
    return this.#ceilings;
  }

  /** What this host would move if the cell had no budgets. */
  get alone(): RateLimits {
    const [own, ceilings] = [this.#own, this.#ceilings];
    return {
      download: lower(own.download, ceilings.download || undefined),
      upload: lower(own.upload, ceilings.upload || undefined),
      origin: lower(own.origin, ceilings.origin || undefined),
    };
  }

  /** The lowest of all. */
  get inForce(): RateLimits {
    const { download, upload, origin } = this.alone;
    return {
      download: lower(download, this.#share.download),
      upload,
      origin: lower(origin, this.#share.origin),
    };
  }

  /** What each made wait, bytes. */
  get held(): RateLimits {
    const { download, upload, origin } = this.limiters;
    return {
      download: download.heldBytes,
      upload: upload.heldBytes,
      origin: origin.heldBytes,
    };
  }

  /** What a limit did. */
  passage(name: keyof RateLimits): Passage {
    const { passedBytes: passed, heldBytes: held, isHolding } = this.limiters[name];
    return { passed, held, isHolding };
  }

  /** Sets some of this host's own. */
  set(changes: Partial<RateLimits>): void {
    this.#own = { ...this.#own, ...changes };
    this.#apply();
  }

  /** Sets this host's share of the cell's. */
  setShare(share: CellShare): void {
    this.#share = share;
    this.#apply();
  }

  /** Sets what other programs of this machine leave us; 0 is all of it. */
  setCeilings(ceilings: RateLimits): void {
    if (limitNames.every((name) => ceilings[name] === this.#ceilings[name])) return;
    this.#ceilings = ceilings;
    this.#apply();
  }

  #apply(): void {
    const rates = this.inForce;
    for (const name of limitNames) this.limiters[name].setRate(rates[name]);
  }
}

function lower(own: number, share: number | undefined): number {
  if (share === undefined) return own;
  const part = Math.max(STANDSTILL, share);
  return own === 0 ? part : Math.min(own, part);
}
