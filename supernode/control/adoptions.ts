import { LRUCache } from 'lru-cache';
import { backoffMs } from '../../core/base/backoff.ts';
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
  readonly seeds: {
    find(task: string, version: string): Pick<SeedTask, 'stored'> | undefined;
    revive(announced: Parameters<Seeds['revive']>[0]): Promise<unknown>;
  };
  readonly pool: Pick<TransferPool, 'openOrigin'>;
  readonly trust: CellTrust;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** What hosts said of one version after a restart. */
interface Told {
  /** Batches that the cell signed. */
  signed: Set<string>;
  /** Digests that hosts stated while no supernode answered, by signer. */
  stated: Map<string, Map<number, string>>;
  signedBytes: number;
  statedBytes: number;
  readonly sinceMs: number;
  /** Hosts that said what they hold. */
  readonly back: Set<string>;
  /** Hosts that are said to hold something. */
  readonly named: Set<string>;
  /** It is to be taken up soon, or tried again. */
  isScheduled: boolean;
}

/** Hosts come back over some time; running tasks are taken up when they have had a moment. */
const SETTLE_MS = 1_000;
/** Those that are known to be missing are waited for so long before the origin is asked for what seems to be nowhere. */
const GRACE_MS = 5_000;
const POLL_MS = 100;
const MAX_VERSIONS = 1_000;
/** Hosts that hold a version, or are said to: as many as are connected at most. */
const MAX_HOSTS = 2_000;
const MAX_SIGNERS = 1_000;
/** A digest in memory, with its key. */
const ENTRY_BYTES = 128;
/** After so many wrong statements no other of the version is compared: each costs the origin a piece. */
const MAX_WRONG = 3;
/** What may pass when a task is to be taken up. */
const PASSING = new Set(['ERR_BUSY', 'ERR_NO_SPACE', 'ERR_STORE_IO']);
const MAX_TRIES = 6;
const RETRY = { firstMs: 2_000, maxMs: 120_000 };

/** What is kept of what hosts say; past it nothing more of a version is, and of all the one that was not spoken of longest goes. */
const LIMITS = {
  /** The manifest of 16 TiB. */
  signedBytes: 64 * 1024 * 1024,
  statedBytes: 16 * 1024 * 1024,
  allBytes: 256 * 1024 * 1024,
};

/**
 * After a restart of the supernode: rebuilds what it knew of tasks from what hosts announce. Batches the cell
 * signed are trusted again at once. Digests that hosts stated on their own are signed only after one piece
 * of each signer, chosen by chance, was fetched from the origin and agreed.
 */
export class Adoptions {
  readonly #parts: AdoptionParts;
  readonly #limits: typeof LIMITS;
  readonly #startedMs: number;
  readonly #told: LRUCache<string, Told>;

  constructor(parts: AdoptionParts, limits = LIMITS) {
    this.#parts = parts;
    this.#limits = limits;
    this.#startedMs = parts.clock.monotonic();
    this.#told = new LRUCache({ max: MAX_VERSIONS, maxSize: limits.allBytes });
  }

  /** Bytes of what is kept, about. */
  get bytes(): number {
    return this.#told.calculatedSize - this.#told.size;
  }

  /** Keeps what a host says; a task that somebody waits for is taken up soon after. */
  announced(peer: string, message: Announce): void {
    const { task, shape } = message;
    const held = this.#parts.seeds.find(task, shape.version)?.stored;
    if (held?.isManifestFinal === true) return;
    const key = `${task}/${shape.version}`;
    const told = this.#told.get(key) ?? newTold(this.#now());
    if (told.back.size < MAX_HOSTS) told.back.add(peer);
    for (const host of message.parents ?? []) name(told, host);
    for (const batch of message.manifest) this.#keepSigned(told, batch, { peer, message });
    for (const batch of message.provisional ?? []) this.#state(told, batch, { peer, message });
    this.#keep(key, told);
    if (!message.active || message.spec === undefined || told.isScheduled) return;
    // The origin is asked first whether this host may have it, and that takes the version up.
    if (shape.isPrivate === true) return;
    told.isScheduled = true;
    this.#later(SETTLE_MS, { announced: { task, shape, spec: message.spec }, told, tries: 0 });
  }

  /**
   * Resolves when all hosts that are said to hold some of the version have told what, a moment after the first did; or
   * some seconds after that, or after the start. What then seems to be nowhere, is.
   */
  async hostsBack(
    { task, version }: { readonly task: string; readonly version: string },
    signal: AbortSignal,
  ): Promise<void> {
    for (;;) {
      const told = this.#told.get(`${task}/${version}`);
      if (this.#areBack(told)) return;
      await this.#parts.clock.sleep(POLL_MS, { signal });
    }
  }

  /**
   * Signs what hosts stated of a version, as far as the origin agrees; called before the seed asks for the rest. Where
   * the origin does not answer nothing is.
   */
  async adopt(seed: SeedTask): Promise<void> {
    const { log } = this.#parts;
    const { taskId, version } = seed.stored;
    const key = `${taskId}/${version}`;
    const told = this.#told.get(key);
    if (told === undefined) return;
    const { signed, stated } = told;
    told.signed = new Set();
    told.stated = new Map();
    told.signedBytes = 0;
    told.statedBytes = 0;
    this.#keep(key, told);
    for (const batch of signed) {
      try {
        await addManifestBatch(seed.stored, batch, this.#judge());
      } catch (error) {
        const { code, message: reason } = CodedError.from(error);
        log.warn({ task: taskId, code, reason }, 'announced manifest batch refused');
      }
    }
    let wrong = 0;
    for (const [signer, entries] of stated) {
      const verdict = await this.#adoptFrom(seed, signer, entries);
      if (verdict === 'wrong') wrong += 1;
      if (verdict === 'unknown' || wrong >= MAX_WRONG) return;
    }
  }

  #areBack(told: Told | undefined): boolean {
    const now = this.#now();
    const isLate = now - Math.max(this.#startedMs, told?.sinceMs ?? 0) >= GRACE_MS;
    if (isLate || told === undefined) return isLate;
    return now - told.sinceMs >= SETTLE_MS && [...told.named].every((host) => told.back.has(host));
  }

  /** Notes how much is kept now; it may be too much for it to be kept at all. */
  #keep(key: string, told: Told): void {
    this.#told.delete(key);
    this.#told.set(key, told, { size: told.signedBytes + told.statedBytes + 1 });
  }

  #judge(): ManifestJudge {
    return {
      verifySupernode: (signer) => this.#verifySupernode(signer),
      acceptsProvisional: () => false,
    };
  }

  #verifySupernode(signer: string): void {
    const { trust, clock } = this.#parts;
    trust.verifySupernode(signer, clock.now());
  }

  #keepSigned(told: Told, text: string, from: Said): void {
    const isFull = told.signedBytes + text.length > this.#limits.signedBytes;
    if (isFull || told.signed.has(text)) return;
    try {
      const { signer, body } = openManifest(text, 'manifest');
      this.#verifySupernode(signer);
      if (!isAbout(body, from.message)) return;
      told.signed.add(text);
      told.signedBytes += text.length;
    } catch (error) {
      this.#refuse(error, from);
    }
  }

  #state(told: Told, text: string, from: Said): void {
    if (from.message.shape.isPrivate === true) return;
    try {
      const { signer, entries, body } = openManifest(text, 'provisional');
      if (!isAbout(body, from.message)) return;
      name(told, signer);
      const bytes = entries.length * ENTRY_BYTES;
      if (told.statedBytes + bytes > this.#limits.statedBytes) return;
      if (!told.stated.has(signer) && told.stated.size >= MAX_SIGNERS) return;
      const stated = told.stated.get(signer) ?? new Map<number, string>();
      told.stated.set(signer, stated);
      const before = stated.size;
      for (const { index, digest } of entries) stated.set(index, digest);
      told.statedBytes += (stated.size - before) * ENTRY_BYTES;
    } catch (error) {
      this.#refuse(error, from);
    }
  }

  #refuse(error: unknown, { peer }: Said): void {
    const { code, message: reason } = CodedError.from(error);
    this.#parts.log.warn({ peer, code, reason }, 'announced digests refused');
  }

  #later(ms: number, attempt: Attempt): void {
    this.#parts.clock.after(ms, () => void this.#revive(attempt), { ref: false });
  }

  async #revive({ announced, told, tries }: Attempt): Promise<void> {
    const { seeds, random, log } = this.#parts;
    try {
      await seeds.revive(announced);
      told.isScheduled = false;
    } catch (error) {
      const { code, message: reason } = CodedError.from(error);
      const isLast = tries + 1 >= MAX_TRIES || !PASSING.has(code);
      log.warn({ task: announced.task, code, reason, isLast }, 'task could not be taken up again');
      if (isLast) told.isScheduled = false;
      else this.#later(backoffMs(tries, RETRY, random), { announced, told, tries: tries + 1 });
    }
  }

  /** What came of comparing a piece; `unknown`: the origin does not tell. */
  async #adoptFrom(
    seed: SeedTask,
    signer: string,
    entries: ReadonlyMap<number, string>,
  ): Promise<'right' | 'wrong' | 'unknown'> {
    const { log, random } = this.#parts;
    const { taskId: task } = seed.stored;
    const open = [...entries].filter(
      ([piece]) => piece < seed.stored.pieces.length && !seed.stored.isSigned(piece),
    );
    const sample = open[random.below(open.length)];
    if (sample === undefined) return 'right';
    const [piece, digest] = sample;
    try {
      if ((await this.#digestAtOrigin(seed, piece)) === digest) {
        await seed.adopt(new Map(open));
        return 'right';
      }
    } catch (error) {
      const { code, message: reason } = CodedError.from(error);
      log.warn({ task, peer: signer, code, reason }, 'what a host stated could not be compared');
      return 'unknown';
    }
    log.warn({ task, peer: signer, piece }, 'host stated a wrong digest; nothing of it is used');
    return 'wrong';
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

  #now(): number {
    return this.#parts.clock.monotonic();
  }
}

/** Who said something, and in which message. */
interface Said {
  readonly peer: string;
  readonly message: Announce;
}

interface Attempt {
  readonly announced: Parameters<Seeds['revive']>[0];
  readonly told: Told;
  readonly tries: number;
}

function newTold(sinceMs: number): Told {
  return {
    signed: new Set(),
    stated: new Map(),
    signedBytes: 0,
    statedBytes: 0,
    sinceMs,
    back: new Set(),
    named: new Set(),
    isScheduled: false,
  };
}

function name({ named }: Told, host: string): void {
  if (named.size < MAX_HOSTS) named.add(host);
}

function isAbout(
  body: { readonly task: string; readonly version: string },
  { task, shape }: Announce,
): boolean {
  return body.task === task && body.version === shape.version;
}
