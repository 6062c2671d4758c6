import type { RateLimiter } from '../net/pacing.ts';
import type { Passage } from './share-keeper.ts';
import type { TransferLimits } from './transfer-messages.ts';

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

/** This host's part of what the whole cell may move; absent where the cell has no limit, 0 is nothing at all. */
export interface CellShare {
  readonly download?: number | undefined;
  readonly origin?: number | undefined;
}

/** Slowest that a limiter goes: nothing moves at it, and its waiters go on as soon as it is raised. */
const STANDSTILL = 1;

/** The limits of a host: its own, and its share of those of the cell. The lower one is in force. */
export class HostLimits {
  readonly #download: RateLimiter;
  readonly #setWorkers: (limits: TransferLimits) => Promise<void>;
  #own: RateLimits;
  #share: CellShare = {};

  constructor(
    own: RateLimits,
    parts: {
      readonly download: RateLimiter;
      /** Told once more of limits that are in force already when they are set again. */
      readonly setWorkers: (limits: TransferLimits) => Promise<void>;
    },
  ) {
    this.#own = own;
    this.#download = parts.download;
    this.#setWorkers = parts.setWorkers;
  }

  /** As they were set on this host. */
  get own(): RateLimits {
    return this.#own;
  }

  get share(): CellShare {
    return this.#share;
  }

  /** The lower of both. */
  get inForce(): RateLimits {
    const { download, upload, origin } = this.#own;
    return {
      download: lower(download, this.#share.download),
      upload,
      origin: lower(origin, this.#share.origin),
    };
  }

  /** Payload that the download limit made wait. */
  get downloadHeldBytes(): number {
    return this.#download.heldBytes;
  }

  /** What the download limit did. */
  get passage(): Passage {
    const { passedBytes: passed, heldBytes: held, isHolding } = this.#download;
    return { passed, held, isHolding };
  }

  /** Sets some of this host's own; resolves when all that moves bytes keeps to them. */
  async set(changes: Partial<RateLimits>): Promise<void> {
    this.#own = { ...this.#own, ...changes };
    await this.#apply();
  }

  /** Sets this host's share of the cell's. */
  async setShare(share: CellShare): Promise<void> {
    this.#share = share;
    await this.#apply();
  }

  async #apply(): Promise<void> {
    const { download, upload, origin } = this.inForce;
    this.#download.setRate(download);
    await this.#setWorkers({ uploadBytesPerSecond: upload, originBytesPerSecond: origin });
  }
}

function lower(own: number, share: number | undefined): number {
  if (share === undefined) return own;
  const part = Math.max(STANDSTILL, share);
  return own === 0 ? part : Math.min(own, part);
}
