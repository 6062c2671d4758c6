import type { Clock, Timer } from '../../core/base/clock.ts';
import type { SeedTask } from './seed-task.ts';

const TICK_MS = 1_000;
/** What was asked for is kept from eviction for so long, and then as long as hosts download it. */
const KEEP_MS = 5_000;

export interface KeptSeedsParts {
  readonly clock: Clock;
  /** True while some host downloads this version. */
  isInDemand(seed: SeedTask): boolean;
  /** Nobody downloads it any more; it may be evicted from now on. */
  onReleased(seed: SeedTask): void;
}

/** What of the seed's store must not be evicted now. */
export class KeptSeeds implements AsyncDisposable {
  readonly #parts: KeptSeedsParts;
  readonly #kept = new Map<SeedTask, { readonly use: Disposable; untilMs: number }>();
  readonly #timer: Timer;

  constructor(parts: KeptSeedsParts) {
    this.#parts = parts;
    this.#timer = parts.clock.every(TICK_MS, () => this.#release(this.#now()));
  }

  has(seed: SeedTask): boolean {
    return this.#kept.has(seed);
  }

  /** Keeps it for a moment, and then while it is fetched or downloaded; a failed one is nothing to keep. */
  keep(seed: SeedTask): SeedTask {
    if (seed.state === 'failed') return seed;
    const untilMs = this.#now() + KEEP_MS;
    const known = this.#kept.get(seed);
    if (known !== undefined) known.untilMs = untilMs;
    else this.#kept.set(seed, { use: seed.stored.acquire(), untilMs });
    return seed;
  }

  /** Gives back at once what nobody downloads: room is needed. */
  releaseIdle(): void {
    this.#release(Number.POSITIVE_INFINITY);
  }

  /** Stops what is being fetched. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer.cancel();
    await Promise.allSettled([...this.#kept.keys()].map(async (seed) => seed.stop()));
    for (const { use } of this.#kept.values()) use[Symbol.dispose]();
    this.#kept.clear();
  }

  #release(nowMs: number): void {
    for (const [seed, { use, untilMs }] of this.#kept) {
      if (seed.state === 'fetching' || nowMs < untilMs) continue;
      if (seed.state !== 'failed' && this.#parts.isInDemand(seed)) continue;
      use[Symbol.dispose]();
      this.#kept.delete(seed);
      this.#parts.onReleased(seed);
    }
  }

  #now(): number {
    return this.#parts.clock.monotonic();
  }
}
