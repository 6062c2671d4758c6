import type { Clock, Timer } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { Random } from '../../core/base/random.ts';
import { Bitfield } from '../../core/piece/bitfield.ts';
import type { StoredTask } from '../../core/store/piece-store.ts';
import { messagesOf } from '../../core/swarm/announcement.ts';
import type { TransferPool } from '../../core/swarm/transfer-pool.ts';
import type {
  Announce,
  Holding,
  Register,
  Registered,
  TaskReport,
} from '../../core/wire/messages.ts';
import type { SeedListener, SeedTask } from '../seed/seed-task.ts';
import { versionLost, versionNames } from '../seed/version-names.ts';
import type { Seeds } from '../seed/seeds.ts';
import type { HostEntry, PeerEntry, SwarmTable, SwarmVersion } from '../swarm-table/swarm-table.ts';
import { Accusations } from './accusations.ts';
import type { Adoptions } from './adoptions.ts';
import type { HostSession } from './host-session.ts';
import { Doubts } from './doubts.ts';
import { Introductions } from './introductions.ts';
import { ManifestRepeats } from './manifest-repeats.ts';
import { SeedOffers } from './seed-offers.ts';
import { checkShape, checkTask } from './task-claims.ts';

export interface SwarmParts {
  readonly self: {
    readonly peer: string;
    readonly addresses: readonly string[];
    readonly idc?: string | undefined;
  };
  readonly table: SwarmTable;
  readonly pool: TransferPool;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  ticket(about: { task: string; version: string; scope: string; child: string }): string;
}

const PRUNE_MS = 60_000;
/** How long hosts take to come back after a restart, at most: they spread it. */
const COMEBACK_MS = 15_000;
/** Its own connection would have told by then that it is gone; else its children may have been wrong. */
const WITHHELD_MS = 30_000;
/** How long a host that a child lost may take to answer. */
const LOOK_MS = 2_000;
/** Digests are told to many hosts less often: as many messages a second in all, however many they are. */
const PACE_MS = 0.25;
const MAX_PACE_MS = 250;

/** The running swarms: registers hosts, introduces them to each other, and passes the seed's news on. */
export class Swarm implements SeedListener {
  readonly #parts: SwarmParts;
  readonly #sessions = new Map<string, HostSession>();
  readonly #offers: SeedOffers;
  readonly #accusations: Accusations;
  readonly #doubts = new Doubts();
  readonly #introductions: Introductions;
  readonly #repeats: ManifestRepeats;
  readonly #prunes: Timer;
  readonly #startedMs: number;
  #seeds: Seeds | undefined;
  #adoptions: Adoptions | undefined;

  constructor(parts: SwarmParts) {
    this.#parts = parts;
    this.#startedMs = parts.clock.monotonic();
    this.#accusations = new Accusations(parts);
    this.#repeats = new ManifestRepeats(parts.clock);
    this.#introductions = new Introductions({
      ...parts,
      tell: (peer, { task, shape: { version } }, parent) =>
        this.#sessions.get(peer)?.updates.parent({ task, version }, parent),
    });
    const find = (task: string, version: string): SeedTask | undefined =>
      this.#seeds?.find(task, version);
    this.#offers = new SeedOffers({
      pool: parts.pool,
      clock: parts.clock,
      idc: parts.self.idc,
      isHeldIn: (seed, idc, piece) => this.#isHeldIn(seed, idc, piece),
      find,
    });
    this.#prunes = parts.clock.every(PRUNE_MS, () => this.#prune());
  }

  /** The seed and the swarm know each other; this closes the circle. */
  attach(parts: { readonly seeds: Seeds; readonly adoptions: Adoptions }): void {
    this.#seeds = parts.seeds;
    this.#adoptions = parts.adoptions;
  }

  get table(): SwarmTable {
    return this.#parts.table;
  }

  connected(session: HostSession, host: HostEntry): void {
    const former = this.#sessions.get(host.peer);
    this.#sessions.set(host.peer, session);
    this.#forget(host.peer);
    this.#accusations.recall(host);
    this.table.hosts.set(host.peer, host);
    void former?.close();
  }

  /** Has every connected host told something. */
  tell(say: (session: HostSession) => void): void {
    for (const session of this.#sessions.values()) say(session);
  }

  /** A host that is gone is offered to nobody from now on; when it returns it announces what it has. */
  disconnected(session: HostSession): void {
    if (this.#sessions.get(session.peer) !== session) return;
    this.#sessions.delete(session.peer);
    this.#forget(session.peer);
  }

  async register(
    session: HostSession,
    message: Register,
    options: { signal: AbortSignal },
  ): Promise<Registered> {
    if (this.#seeds === undefined) throw new CodedError('ERR_BUSY', 'the seed is not ready yet');
    const { id, task, spec, priority } = message;
    checkTask(task, spec);
    const seed = await this.#seeds.resolve(task, spec, { ...options, priority });
    const content = await this.#seeds.inline(seed, options);
    // A host that left meanwhile would be counted among those that download for ever.
    options.signal.throwIfAborted();
    // All who take part were told of it already.
    if (seed.failure !== undefined) throw seed.failure;
    const common = { type: 'registered', id, task } as const;
    const digest = seed.stored.wholeDigest;
    const whole = digest === undefined ? {} : { digest };
    const shape = this.#shapeOf(seed);
    if (content !== undefined) {
      return { ...common, shape, manifest: [], parents: [], content, ...whole };
    }
    const version = this.table.addVersion(task, shape);
    const entry = this.table.join(version, session.peer);
    entry.isActive = true;
    entry.isEntitled = true;
    this.#hold(version, entry, message.holding);
    const withSeed = this.#withSeed(seed, session.peer);
    const parents = this.#introductions.parentsFor(version, session.peer, { withSeed });
    if (withSeed) this.#offers.join(seed, session.peer, this.#idcOf(session.peer));
    const [manifest = [], ...rest] = messagesOf(seed.manifest());
    for (const batches of rest) session.updates.manifest(versionNames(seed), batches);
    const ticket = this.ticket(seed.stored, session.peer);
    return { ...common, shape, manifest, parents, ticket, ...whole };
  }

  /** Takes in what a host holds; throws ERR_REQUEST, and takes nothing, when that cannot be. */
  announce(session: HostSession, message: Announce): void {
    const { task, shape, spec, active } = message;
    checkShape(shape, spec);
    if (spec !== undefined) checkTask(task, spec);
    const version = this.table.addVersion(task, shape);
    const entry = this.table.join(version, session.peer);
    this.#hold(version, entry, message.holding);
    this.#adoptions?.announced(session.peer, message);
    entry.isActive = active && this.#mayHave(version, session.peer);
    if (entry.isActive) this.#resume(version, session.peer);
    else this.#introductions.entered(version, session.peer);
  }

  /**
   * Asks the origin whether a host that announced private content, and wants the rest of it, may have it; the host
   * hears of parents only then. Throws the refusal of the origin.
   */
  async prove(
    session: HostSession,
    about: Pick<Announce, 'task' | 'shape'> & { readonly spec: Announce['spec'] | undefined },
    options: { signal: AbortSignal },
  ): Promise<void> {
    const { task, shape, spec } = about;
    const version = this.table.version(task, shape.version);
    if (version === undefined || spec === undefined || this.#seeds === undefined) return;
    const seed = await this.#seeds.resolve(task, spec, options);
    options.signal.throwIfAborted();
    if (seed.stored.version !== shape.version) {
      throw new CodedError('ERR_ORIGIN_CHANGED', 'the origin has another version now');
    }
    const entry = this.table.join(version, session.peer);
    entry.isEntitled = true;
    entry.isActive = true;
    this.#resume(version, session.peer);
  }

  /** True when a host wants content of which it is not known yet whether it may have it. */
  needsProof(session: HostSession, message: Announce): boolean {
    const version = this.table.version(message.task, message.shape.version);
    return message.active && version !== undefined && !this.#mayHave(version, session.peer);
  }

  report(session: HostSession, report: TaskReport): void {
    const version = this.table.version(report.task, report.version);
    if (version === undefined) return;
    const entry = this.table.join(version, session.peer);
    this.#had(version, entry, report.had ?? []);
    if ((report.had ?? []).length > 0) this.#repeats.forget(entry);
    for (const piece of report.lost ?? []) version.lost(entry, piece);
    entry.fromPeers = report.fromPeers ?? entry.fromPeers;
    entry.fromSeed = report.fromSeed ?? entry.fromSeed;
    entry.fromOrigin = report.fromOrigin ?? entry.fromOrigin;
    this.#fail(version, session.peer, report.failures ?? []);
    if (report.complete === true) version.hasAll(entry);
    if (report.active === false) entry.isActive = false;
    if (report.gone === true) this.#leave(version, session.peer);
    else if (!entry.isActive || entry.isComplete) this.#offerAll(version, session.peer);
  }

  /** Other parents for a host that does not come forward. */
  moreParents(session: HostSession, about: { task: string; version: string }): void {
    const version = this.table.version(about.task, about.version);
    if (version === undefined || !this.#mayHave(version, session.peer)) return;
    const seed = this.#seeds?.find(about.task, about.version);
    seed?.refill();
    if (seed === undefined && this.#isLost(version)) {
      session.updates.more(about, { failed: versionLost().toObject() });
      return;
    }
    // It downloads, or it would not ask, also when it was forgotten meanwhile that it does.
    const entry = this.table.join(version, session.peer);
    // While it was forgotten it was told no news.
    if (!entry.isActive) this.#repeats.forget(entry);
    entry.isActive = true;
    this.#resume(version, session.peer, { isStuck: true });
  }

  /** A fresh ticket for a host that takes part; nothing for one that does not, or may not. */
  renewTicket(session: HostSession, about: { task: string; version: string }): void {
    const version = this.table.version(about.task, about.version);
    if (version === undefined || !this.#mayHave(version, session.peer)) return;
    const ticket = this.ticket({ taskId: about.task, version: about.version }, session.peer);
    session.updates.more(about, { ticket });
  }

  ticket(stored: { readonly taskId: string; readonly version: string }, child: string): string {
    const { taskId: task, version } = stored;
    return this.#parts.ticket({ task, version, scope: task, child });
  }

  onManifest(seed: SeedTask, batches: readonly string[]): void {
    const about = versionNames(seed);
    const version = this.table.addVersion(about.task, this.#shapeOf(seed));
    const pace = { withinMs: Math.min(MAX_PACE_MS, version.peers.size * PACE_MS) };
    for (const entry of version.peers.values()) {
      if (entry.isActive) this.#sessions.get(entry.peer)?.updates.manifest(about, batches, pace);
    }
  }

  onPieces(seed: SeedTask, pieces: readonly number[]): void {
    const version = this.table.version(seed.stored.taskId, seed.stored.version);
    this.#offers.add(seed, pieces, (piece) => (version?.copies(piece) ?? 0) > 0);
  }

  /** Hosts that were downloading before the seed took the version up learn that it is there. */
  onBegun(seed: SeedTask): void {
    const version = this.table.version(seed.stored.taskId, seed.stored.version);
    if (version === undefined) return;
    for (const entry of version.peers.values()) {
      const idc = this.#idcOf(entry.peer);
      if (!entry.isActive || entry.isComplete || !this.#offers.hasRoom(seed, idc)) continue;
      this.#introductions.introduceSeed(version, entry.peer);
      this.#offers.join(seed, entry.peer, idc);
    }
  }

  onSettled(seed: SeedTask): void {
    if (seed.failure === undefined) return;
    const about = versionNames(seed);
    const version = this.table.version(about.task, about.version);
    // What was asked for by a digest was something else: nobody has shown yet that his origin serves that digest.
    const isRefuted = seed.failure.code === 'ERR_DIGEST_MISMATCH';
    for (const entry of version?.peers.values() ?? []) {
      if (isRefuted) entry.isEntitled = false;
      if (!entry.isActive) continue;
      this.#sessions.get(entry.peer)?.updates.more(about, { failed: seed.failure.toObject() });
    }
  }

  /** True while a host downloads the version. */
  isInDemand(stored: StoredTask): boolean {
    return (this.table.version(stored.taskId, stored.version)?.activePeers ?? 0) > 0;
  }

  /** True while a host has the piece that others can reach. */
  isElsewhere(stored: StoredTask, piece: number): boolean {
    const version = this.table.version(stored.taskId, stored.version);
    if (version === undefined || version.copies(piece) === 0) return false;
    return version.peers.values().some((entry) => {
      const host = this.table.hosts.get(entry.peer);
      return entry.pieces.has(piece) && host !== undefined && this.#introductions.isOffered(host);
    });
  }

  async close(): Promise<void> {
    this.#prunes.cancel();
    this.#offers[Symbol.dispose]();
    await Promise.allSettled([...this.#sessions.values()].map(async (session) => session.close()));
  }

  /** True when all hosts together lack a part of it; said only once those of before a restart have come back. */
  #isLost(version: SwarmVersion): boolean {
    if (this.#parts.clock.monotonic() - this.#startedMs < COMEBACK_MS) return false;
    if (version.pieceCount !== undefined) return version.missing().length > 0;
    return ![...version.peers.values()].some(({ isComplete }) => isComplete);
  }

  /** Private content is for those for whom the origin was asked. */
  #mayHave(version: SwarmVersion, peer: string): boolean {
    return version.shape.isPrivate !== true || version.peers.get(peer)?.isEntitled === true;
  }

  #shapeOf(seed: SeedTask): Registered['shape'] {
    const { length } = seed.stored;
    return length === undefined ? seed.shape : { ...seed.shape, length };
  }

  #hold(version: SwarmVersion, entry: PeerEntry, holding: Holding | undefined): void {
    if (holding?.version !== version.shape.version) return;
    if (holding.pieces === undefined) {
      version.hasAll(entry);
      return;
    }
    const bytes = Buffer.from(holding.pieces, 'base64');
    const held = new Bitfield(Math.min(bytes.length * 8, entry.pieces.length), bytes);
    this.#had(version, entry, held.indexes());
  }

  #had(version: SwarmVersion, entry: PeerEntry, pieces: Iterable<number>): void {
    const had = [...pieces].filter((piece) => {
      version.had(entry, piece);
      return entry.pieces.has(piece);
    });
    const seed = this.#seeds?.find(version.task, version.shape.version);
    if (seed === undefined || had.length === 0) return;
    this.#offers.seen(seed, had, this.#idcOf(entry.peer));
  }

  /** A report counts once against a parent, whatever it lists; and only against one that has to do with the version. */
  #fail(
    version: SwarmVersion,
    reporter: string,
    failures: NonNullable<TaskReport['failures']>,
  ): void {
    const { self } = this.#parts;
    const failed = new Set<PeerEntry>();
    for (const { parent, piece, code } of failures) {
      const entry = version.peers.get(parent);
      if (entry !== undefined) failed.add(entry);
      const isTaking = entry !== undefined || parent === self.peer;
      if (isTaking && code === 'ERR_PIECE_DIGEST')
        this.#accuse(version, reporter, { parent, piece });
    }
    for (const entry of failed) entry.failures += 1;
    const lost = failures.filter(({ code }) => code === 'ERR_LINK').map(({ parent }) => parent);
    for (const parent of new Set(lost)) {
      if (version.peers.has(parent)) this.#doubt(reporter, parent);
    }
  }

  /** A child lost a host that seems to be connected still. */
  #doubt(child: string, parent: string): void {
    const { table, clock } = this.#parts;
    const host = table.hosts.get(parent);
    if (host === undefined) return;
    const verdict = this.#doubts.note({ child, parent }, clock.monotonic());
    if (verdict === 'withhold') this.#withhold(host);
    if (verdict === 'look') void this.#look(host);
  }

  async #look(host: HostEntry): Promise<void> {
    const session = this.#sessions.get(host.peer);
    const isReached = await session?.isReached(host.addresses, LOOK_MS);
    if (isReached === false) this.#withhold(host);
  }

  #withhold(host: HostEntry): void {
    const { clock, log } = this.#parts;
    const now = clock.monotonic();
    if (host.withheldUntilMs <= now) log.info({ peer: host.peer }, 'host lost by its children');
    host.withheldUntilMs = now + WITHHELD_MS;
  }

  /** Evidence against a host; it, or the seed, hashes what it offers again. */
  #accuse(
    { task, shape }: SwarmVersion,
    accuser: string,
    { parent, piece }: { readonly parent: string; readonly piece: number },
  ): void {
    const { version } = shape;
    const accusation = { accuser, accused: parent, task, version, piece };
    if (!this.#accusations.add(accusation)) return;
    this.#sessions.get(parent)?.send({ type: 'check', task, version, piece });
    if (parent === this.#parts.self.peer) this.#seeds?.recheck(`${task}/${version}`);
  }

  /** The seed has links for so many; the others hear of it when they do not come forward. */
  #withSeed(
    seed: SeedTask | undefined,
    peer: string,
    options: { isStuck?: boolean } = {},
  ): boolean {
    if (seed === undefined || seed.state === 'failed') return false;
    return options.isStuck === true || this.#offers.hasRoom(seed, this.#idcOf(peer));
  }

  #idcOf(peer: string): string {
    return this.table.hosts.get(peer)?.idc ?? '';
  }

  #isHeldIn(seed: SeedTask, idc: string, piece: number): boolean {
    const version = this.table.version(seed.stored.taskId, seed.stored.version);
    if (version === undefined || version.copies(piece) === 0) return false;
    return version.peers
      .values()
      .some((entry) => entry.pieces.has(piece) && this.#idcOf(entry.peer) === idc);
  }

  /** After a reconnection: parents, ticket and manifest for a host that wants the rest. */
  #resume(version: SwarmVersion, peer: string, options: { isStuck?: boolean } = {}): void {
    const session = this.#sessions.get(peer);
    if (session === undefined) return;
    const about = { task: version.task, version: version.shape.version };
    const seed = this.#seeds?.find(about.task, about.version);
    session.updates.more(about, { ticket: this.ticket({ taskId: about.task, ...about }, peer) });
    const withSeed = this.#withSeed(seed, peer, options);
    const wanted = { withSeed, ...options };
    for (const parent of this.#introductions.parentsFor(version, peer, wanted)) {
      session.updates.parent(about, parent);
    }
    if (seed !== undefined) {
      const entry = version.peer(peer);
      if (options.isStuck !== true) this.#repeats.forget(entry);
      if (this.#repeats.take(entry)) session.updates.manifest(about, seed.manifest());
      if (withSeed) this.#offers.join(seed, peer, this.#idcOf(peer));
    }
  }

  #forget(peer: string): void {
    for (const version of this.table.versionsOf(peer)) this.#leave(version, peer);
    this.table.removeHost(peer);
  }

  #leave(version: SwarmVersion, peer: string): void {
    this.#offerAll(version, peer);
    const had = version.peers.get(peer)?.pieces;
    this.table.leave(version, peer);
    this.#introductions.left(version, peer);
    // It may have been the last that had something.
    const seed = this.#seeds?.find(version.task, version.shape.version);
    if (seed === undefined) return;
    if (had !== undefined) this.#offers.lost(seed, had.indexes(), this.#idcOf(peer));
    seed.refill();
  }

  #offerAll(version: SwarmVersion, gone: string): void {
    const seed = this.#seeds?.find(version.task, version.shape.version);
    if (seed !== undefined) this.#offers.leave(seed, gone);
  }

  #prune(): void {
    for (const version of this.table.versions()) version.forgive();
    this.table.prune(
      (version) => this.#seeds?.find(version.task, version.shape.version) !== undefined,
    );
    this.#accusations.decay();
  }
}
