import type { HostKey } from '../../core/identity/host-key.ts';
import type { StoredTask } from '../../core/store/piece-store.ts';
import { contiguousRuns, sealManifest } from '../../core/swarm/manifest.ts';

/** Batches that are handed out as they are; past it they are joined into fewer. */
const MAX_BATCHES = 64;

/**
 * What the cell has signed of one version, in few batches however many were made: a batch leaves every few
 * milliseconds while the origin sends, and a host that registers late gets them all in one reply.
 */
export class SignedBatches {
  readonly #stored: StoredTask;
  readonly #key: HostKey;
  #batches: string[] | undefined;
  #most = MAX_BATCHES;

  constructor(stored: StoredTask, key: HostKey) {
    this.#stored = stored;
    this.#key = key;
  }

  list(): readonly string[] {
    this.#batches ??= this.#stored.manifest().filter((batch) => batch.startsWith('v1.manifest.'));
    // A final manifest is in as few as can be, and says more than digests.
    const isFinal = this.#stored.isManifestFinal;
    if (!isFinal && this.#batches.length > this.#most) this.#batches = this.#joined();
    return this.#batches;
  }

  /** Batches that were journalled just now. */
  add(batches: readonly string[]): void {
    this.#batches?.push(...batches);
  }

  /** Somebody else changed what is journalled. */
  reload(): void {
    this.#batches = undefined;
  }

  #joined(): string[] {
    const { taskId: task, version, pieceLength } = this.#stored;
    const batches: string[] = [];
    for (const { start, digests } of contiguousRuns(this.#digests())) {
      const batch = { task, version, pieceLength, start, digests };
      batches.push(sealManifest('manifest', batch, this.#key));
    }
    // With many gaps there are many runs; joining them at each new one would be in vain.
    this.#most = Math.max(MAX_BATCHES, 2 * batches.length);
    return batches;
  }

  #digests(): Map<number, string> {
    const digests = new Map<number, string>();
    for (let piece = 0; piece < this.#stored.pieces.length; piece += 1) {
      if (!this.#stored.isSigned(piece)) continue;
      const digest = this.#stored.digestOf(piece);
      if (digest !== undefined) digests.set(piece, digest);
    }
    return digests;
  }
}
