import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { Random } from '../../core/base/random.ts';
import type { CellTrust } from '../../core/identity/trust.ts';
import { openManifest } from '../../core/swarm/manifest.ts';
import { openerOf } from '../../core/swarm/origin-request.ts';
import { addManifestBatch } from '../../core/swarm/task-manifest.ts';
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

interface Revival {
  readonly seed: SeedTask;
  /** Digests that hosts stated while no supernode answered, by signer. */
  readonly stated: Map<string, Map<number, string>>;
  isScheduled: boolean;
}

/** Hosts come back over some time; the picture is completed when they have had a moment. */
const SETTLE_MS = 1_000;
const MAX_REVIVALS = 1_000;

/**
 * After a restart of the supernode: rebuilds what it knew of running tasks from what hosts announce.
 * Batches the cell signed are trusted again at once. Digests that hosts stated on their own are signed
 * only after one piece of each signer, chosen by chance, was fetched from the origin and agreed.
 */
export class Adoptions {
  readonly #parts: AdoptionParts;
  readonly #revivals = new Map<string, Revival>();

  constructor(parts: AdoptionParts) {
    this.#parts = parts;
  }

  async announced(peer: string, message: Announce): Promise<void> {
    const { seeds, log } = this.#parts;
    const held = seeds.find(message.task, message.shape.version)?.stored;
    if (held?.isManifestFinal === true) return;
    const provisional = message.provisional ?? [];
    const isWanted = message.active && message.spec !== undefined;
    const key = `${message.task}/${message.shape.version}`;
    const known = this.#revivals.get(key);
    if (!isWanted && known === undefined) return;
    const revival = known ?? (await this.#begin(key, message));
    for (const batch of message.manifest) {
      try {
        await addManifestBatch(revival.seed.stored, batch, this.#judge());
      } catch (error) {
        const { code, message: reason } = CodedError.from(error);
        log.warn({ peer, code, reason }, 'announced manifest batch refused');
      }
    }
    for (const batch of provisional) this.#state(revival, batch, message);
    if (revival.isScheduled) return;
    revival.isScheduled = true;
    this.#parts.clock.after(SETTLE_MS, () => void this.#finish(key, revival), { ref: false });
  }

  async #begin(key: string, message: Announce): Promise<Revival> {
    if (this.#revivals.size >= MAX_REVIVALS || message.spec === undefined) {
      throw new CodedError('ERR_BUSY', 'too many tasks are being taken up again');
    }
    const { task, shape, spec } = message;
    const seed = await this.#parts.seeds.revive({ task, shape, spec });
    const again = this.#revivals.get(key);
    if (again !== undefined) return again;
    const revival: Revival = { seed, stated: new Map(), isScheduled: false };
    this.#revivals.set(key, revival);
    return revival;
  }

  #judge(): { verifySupernode(signer: string): void; acceptsProvisional(): boolean } {
    const { trust, clock } = this.#parts;
    return {
      verifySupernode: (signer) => trust.verifySupernode(signer, clock.now()),
      acceptsProvisional: () => false,
    };
  }

  #state(revival: Revival, text: string, message: Announce): void {
    if (message.shape.isPrivate === true) return;
    const { signer, entries, body } = openManifest(text, 'provisional');
    if (body.task !== message.task || body.version !== message.shape.version) return;
    const stated = revival.stated.get(signer) ?? new Map<number, string>();
    revival.stated.set(signer, stated);
    for (const { index, digest } of entries) stated.set(index, digest);
  }

  async #finish(key: string, revival: Revival): Promise<void> {
    const { log } = this.#parts;
    const { seed, stated } = revival;
    try {
      for (const [signer, entries] of stated) await this.#adopt(seed, signer, entries);
      if (seed.state === 'idle') await seed.fetchMissing();
    } catch (error) {
      const { code, message } = CodedError.from(error);
      log.warn(
        { task: seed.stored.taskId, code, reason: message },
        'task could not be taken up again',
      );
    } finally {
      this.#revivals.delete(key);
    }
  }

  async #adopt(
    seed: SeedTask,
    signer: string,
    entries: ReadonlyMap<number, string>,
  ): Promise<void> {
    const open = [...entries].filter(([piece]) => !seed.stored.isSigned(piece));
    const sample = open[this.#parts.random.below(open.length)];
    if (sample === undefined) return;
    const [piece, digest] = sample;
    const actual = await this.#digestAtOrigin(seed, piece);
    if (actual !== digest) {
      this.#parts.log.warn(
        { peer: signer, piece },
        'host stated a wrong digest; its pieces are not used',
      );
      return;
    }
    await seed.adopt(new Map(open));
  }

  async #digestAtOrigin(seed: SeedTask, piece: number): Promise<string> {
    const { pieceLength, length = 0 } = seed.stored;
    const start = piece * pieceLength;
    const part = openerOf(seed.spec).part(start, Math.min(start + pieceLength, length));
    const signal = new AbortController().signal;
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
