import { LRUCache } from 'lru-cache';
import { hasStrongEtag } from '../../core/piece/version.ts';
import { Serial } from '../../core/store/serial.ts';
import type { PieceStore, StoredTask } from '../../core/store/piece-store.ts';
import type { SeedTask } from './seed-task.ts';

const MAX_FINGERPRINTS = 64;

/** What is held of a version; without `seed` it is in the store only. */
export interface Held {
  readonly stored: StoredTask;
  readonly seed: SeedTask | undefined;
}

/** When the origin confirmed which version. */
export interface Confirmation {
  readonly version: string;
  readonly atMs: number;
}

/** The versions of one task in the seed: those that are alive, and what the store has besides. */
export class TaskVersions {
  readonly #task: string;
  readonly #store: PieceStore;
  /** The newest is the last. */
  readonly #seeds = new Map<string, SeedTask>();
  readonly #confirmed = new LRUCache<string, Confirmation>({ max: MAX_FINGERPRINTS });
  /** Versions are taken up one after the other: each sees what the one before did. */
  readonly turns = new Serial();
  /** Questions to the origin under way. */
  questions = 0;

  constructor(task: string, store: PieceStore) {
    this.#task = task;
    this.#store = store;
  }

  seeds(): readonly SeedTask[] {
    return [...this.#seeds.values()];
  }

  /** The version, unless the store has evicted it; one that failed is told of until there is another. */
  alive(version: string): SeedTask | undefined {
    const seed = this.#seeds.get(version);
    if (seed === undefined || seed.state === 'failed') return seed;
    if (this.#store.find(this.#task, version) === seed.stored) return seed;
    this.#seeds.delete(version);
    return undefined;
  }

  /** The newest version that has not failed. */
  newest(): SeedTask | undefined {
    for (const version of [...this.#seeds.keys()].toReversed()) {
      const seed = this.alive(version);
      if (seed !== undefined && seed.state !== 'failed') return seed;
    }
    return undefined;
  }

  /** What is held of the newest version, as far as it can be used. */
  held(): Held | undefined {
    const seed = this.newest();
    return seed === undefined
      ? inStore(this.#store.find(this.#task))
      : { stored: seed.stored, seed };
  }

  /** What is held of one version, as far as it can be used. */
  heldOf(version: string): Held | undefined {
    const seed = this.alive(version);
    return seed === undefined || seed.state === 'failed'
      ? inStore(this.#store.find(this.#task, version))
      : { stored: seed.stored, seed };
  }

  add(seed: SeedTask): void {
    this.#seeds.delete(seed.stored.version);
    this.#seeds.set(seed.stored.version, seed);
  }

  /** Of versions that nobody downloads only the newest is of use. */
  forgetFormer(seed: SeedTask): void {
    const { version } = seed.stored;
    const isNewest = [...this.#seeds.keys()].at(-1) === version;
    if (!isNewest && this.#seeds.get(version) === seed) this.#seeds.delete(version);
  }

  confirmation(asker: string): Confirmation | undefined {
    return this.#confirmed.get(asker);
  }

  /** The origin has told `asker` that the version is the one it has now. */
  confirm(asker: string, seed: SeedTask, atMs: number): void {
    this.#confirmed.set(asker, { version: seed.stored.version, atMs });
    this.add(seed);
  }

  /** The origin has a new version: what it said of others counts no longer. */
  renew(): void {
    this.#confirmed.clear();
  }
}

function inStore(stored: StoredTask | undefined): Held | undefined {
  return stored !== undefined && canContinue(stored) ? { stored, seed: undefined } : undefined;
}

/** Half of a version can be finished only where it can be told that the rest is of the same one. */
function canContinue(stored: StoredTask): boolean {
  if (stored.isComplete) return true;
  const { validators, length } = stored;
  return (
    length !== undefined && (hasStrongEtag(validators) || validators.lastModified !== undefined)
  );
}
