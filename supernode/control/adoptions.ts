import { LRUCache } from 'lru-cache';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { Random } from '../../core/base/random.ts';
import type { CellTrust } from '../../core/identity/trust.ts';
import { openManifest } from '../../core/swarm/manifest.ts';
import { openerOf } from '../../core/swarm/origin-request.ts';
import { addManifestBatch } from '../../core/swarm/task-manifest.ts';
import type { ManifestJudge } from '../../core/swarm/task-manifest.ts';
import type { TransferPool } from '../../core/swarm/transfer-pool.ts';
import type { Announce } from '../../core/wire/messages.ts';
import type { SeedTask } from '../seed/seed-task.ts';
import type { Seeds } from '../seed/seeds.ts';

export interface AdoptionParts {
  readonly seeds: Seeds;
  readonly pool: TransferPool;
  readonly trust: CellTrust;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** What hosts said of one version after a restart. */
interface Told {
  /** Batches that the cell signed. */
  readonly signed: Set<string>;
  /** Digests that hosts stated while no supernode answered, by signer. */
  readonly stated: Map<string, Map<number, string>>;
  isScheduled: boolean;
}

/** Hosts come back over some time; running tasks are taken up when they have had a moment. */
const SETTLE_MS = 1_000;
const MAX_VERSIONS = 1_000;
const MAX_SIGNERS = 1_000;
const MAX_BATCHES = 4_096;

/**
 * After a restart of the supernode: rebuilds what it knew of tasks from what hosts announce. Batches the cell
 * signed are trusted again at once. Digests that hosts stated on their own are signed only after one piece
 * of each signer, chosen by chance, was fetched from the origin and agreed.
 */
export class Adoptions {
  readonly #parts: AdoptionParts;
  readonly #told = new LRUCache<string, Told>({ max: MAX_VERSIONS });

  constructor(parts: AdoptionParts) {
    this.#parts = parts;
  }

  /** Keeps what a host says; a task that somebody waits for is taken up soon after. */
  announced(peer: string, message: Announce): void {
    const { task, shape } = message;
    const held = this.#parts.seeds.find(task, shape.version)?.stored;
    if (held?.isManifestFinal === true) return;
    const key = `${task}/${shape.version}`;
    const told = this.#told.get(key) ?? newTold();
    this.#told.set(key, told);
    for (const batch of message.manifest) {
      if (told.signed.size < MAX_BATCHES) told.signed.add(batch);
    }
    for (const batch of message.provisional ?? []) this.#state(told, batch, { peer, message });
    if (!message.active || message.spec === undefined || told.isScheduled) return;
    // The origin is asked first whether this host may have it, and that takes the version up.
    if (shape.isPrivate === true) return;
    told.isScheduled = true;
    this.#parts.clock.after(SETTLE_MS, () => void this.#revive(message, told), { ref: false });
  }

  /** Signs what hosts stated of a version, as far as the origin agrees; called before the seed asks for the rest. */
  async adopt(seed: SeedTask): Promise<void> {
    const { log } = this.#parts;
    const { taskId, version } = seed.stored;
    const told = this.#told.get(`${taskId}/${version}`);
    if (told === undefined) return;
    for (const batch of told.signed) {
      try {
        await addManifestBatch(seed.stored, batch, this.#judge());
      } catch (error) {
        const { code, message: reason } = CodedError.from(error);
        log.warn({ task: taskId, code, reason }, 'announced manifest batch refused');
      }
    }
    for (const [signer, entries] of told.stated) await this.#adoptFrom(seed, signer, entries);
    this.#told.delete(`${taskId}/${version}`);
  }

  #judge(): ManifestJudge {
    const { trust, clock } = this.#parts;
    return {
      verifySupernode: (signer) => trust.verifySupernode(signer, clock.now()),
      acceptsProvisional: () => false,
    };
  }

  #state(
    told: Told,
    text: string,
    from: { readonly peer: string; readonly message: Announce },
  ): void {
    const { task, shape } = from.message;
    if (shape.isPrivate === true) return;
    try {
      const { signer, entries, body } = openManifest(text, 'provisional');
      if (body.task !== task || body.version !== shape.version) return;
      if (!told.stated.has(signer) && told.stated.size >= MAX_SIGNERS) return;
      const stated = told.stated.get(signer) ?? new Map<number, string>();
      told.stated.set(signer, stated);
      for (const { index, digest } of entries) stated.set(index, digest);
    } catch (error) {
      const { code, message: reason } = CodedError.from(error);
      this.#parts.log.warn({ peer: from.peer, code, reason }, 'announced digests refused');
    }
  }

  async #revive(message: Announce, told: Told): Promise<void> {
    const { task, shape, spec } = message;
    told.isScheduled = false;
    if (spec === undefined) return;
    try {
      await this.#parts.seeds.revive({ task, shape, spec });
    } catch (error) {
      const { code, message: reason } = CodedError.from(error);
      this.#parts.log.warn({ task, code, reason }, 'task could not be taken up again');
    }
  }

  async #adoptFrom(
    seed: SeedTask,
    signer: string,
    entries: ReadonlyMap<number, string>,
  ): Promise<void> {
    const open = [...entries].filter(([piece]) => !seed.stored.isSigned(piece));
    const sample = open[this.#parts.random.below(open.length)];
    if (sample === undefined) return;
    const [piece, digest] = sample;
    if ((await this.#digestAtOrigin(seed, piece)) === digest) {
      await seed.adopt(new Map(open));
      return;
    }
    this.#parts.log.warn(
      { peer: signer, piece },
      'host stated a wrong digest; what it stated is not used',
    );
  }

  async #digestAtOrigin(seed: SeedTask, piece: number): Promise<string> {
    const { pieceLength, length = 0 } = seed.stored;
    const start = piece * pieceLength;
    const part = openerOf(seed.spec).part(start, Math.min(start + pieceLength, length));
    const { signal } = new AbortController();
    await using origin = await this.#parts.pool.openOrigin(
      { ...part, ifMatch: seed.shape.validators },
      { signal },
    );
    let found = '';
    await origin.pump(seed.stored, {
      start: piece,
      end: piece + 1,
      whole: false,
      signal,
      onPiece: (_piece, digest) => {
        found = digest;
      },
    });
    return found;
  }
}

function newTold(): Told {
  return { signed: new Set(), stated: new Map(), isScheduled: false };
}
