import { CodedError } from '../../core/base/error.ts';
import { Bitfield } from '../../core/piece/bitfield.ts';
import { pieceCount } from '../../core/piece/piece-length.ts';
import type { TaskShape } from '../../core/wire/messages.ts';

/** A member host that is connected, or was until a moment ago. */
export interface HostEntry {
  readonly peer: string;
  addresses: readonly string[];
  readonly idc: string | undefined;
  readonly location: string | undefined;
  readonly hostname: string | undefined;
  readonly role: 'host' | 'seed';
  /** False: nobody could connect to its piece link, so it is offered to nobody. */
  isReachable: boolean;
  isConnected: boolean;
  lastSeenMs: number;
  /** Accusations of wrong pieces by distinct accusers, by peer id; decays. */
  readonly accusers: Map<string, number>;
  quarantinedUntilMs: number;
  /** Its children lost it: until then it is offered to nobody, unless its own connection ends first. */
  withheldUntilMs: number;
}

/** What one host has of one version. */
export interface PeerEntry {
  readonly peer: string;
  pieces: Bitfield;
  isComplete: boolean;
  /** It downloads and may have what it downloads: it hears of parents and manifest. */
  isActive: boolean;
  /** The origin was asked with this host's credentials since it connected, and said yes. */
  isEntitled: boolean;
  readonly parents: Set<string>;
  children: number;
  /** Reports of others that it sent a piece wrong or not at all; decays. */
  failures: number;
  fromPeers: number;
  fromSeed: number;
  fromOrigin: number;
}

/** One version of a task in the swarm: its shape and who has what. Hosts enter and leave through the table. */
export class SwarmVersion {
  readonly task: string;
  #shape: TaskShape;
  readonly peers = new Map<string, PeerEntry>();
  /** How many hosts hold each piece. */
  #counts: Uint16Array;

  constructor(task: string, shape: TaskShape) {
    this.task = task;
    this.#shape = shape;
    this.#counts = new Uint16Array(this.capacity);
  }

  get shape(): TaskShape {
    return this.#shape;
  }

  /** Takes another shape over; what hosts have stays, as far as there are such pieces. */
  set shape(shape: TaskShape) {
    this.#shape = shape;
    const { capacity } = this;
    if (capacity === this.#counts.length) return;
    const counts = new Uint16Array(capacity);
    counts.set(this.#counts.subarray(0, capacity));
    this.#counts = counts;
    for (const entry of this.peers.values()) {
      const held = [...entry.pieces.indexes()].filter((piece) => piece < capacity);
      entry.pieces = new Bitfield(capacity);
      for (const piece of held) entry.pieces.set(piece);
    }
  }

  /** Pieces that are kept track of. */
  get capacity(): number {
    return this.pieceCount ?? UNKNOWN_CAPACITY;
  }

  get pieceCount(): number | undefined {
    const { length, pieceLength } = this.shape;
    return length === undefined ? undefined : pieceCount(length, pieceLength);
  }

  /** Adds a host to the version, or finds it there. */
  peer(peer: string): PeerEntry {
    const known = this.peers.get(peer);
    if (known !== undefined) return known;
    const entry: PeerEntry = {
      peer,
      pieces: new Bitfield(this.capacity),
      isComplete: false,
      isActive: false,
      isEntitled: false,
      parents: new Set(),
      children: 0,
      failures: 0,
      fromPeers: 0,
      fromSeed: 0,
      fromOrigin: 0,
    };
    this.peers.set(peer, entry);
    return entry;
  }

  /** Notes that `peer` has `piece`; true when it is the first host that has it. */
  had(entry: PeerEntry, piece: number): boolean {
    if (piece >= this.#counts.length || !entry.pieces.set(piece)) return false;
    const count = (this.#counts[piece] ?? 0) + 1;
    this.#counts[piece] = count;
    if (entry.pieces.count === this.pieceCount) entry.isComplete = true;
    return count === 1;
  }

  lost(entry: PeerEntry, piece: number): void {
    if (!entry.pieces.clear(piece)) return;
    this.#counts[piece] = Math.max(0, (this.#counts[piece] ?? 0) - 1);
    entry.isComplete = false;
  }

  /** Marks every piece as had. */
  hasAll(entry: PeerEntry): void {
    const count = this.pieceCount;
    for (let piece = 0; piece < (count ?? 0); piece += 1) this.had(entry, piece);
    entry.isComplete = count !== undefined;
  }

  /** Forgets a host and what it had. */
  remove(peer: string): void {
    const entry = this.peers.get(peer);
    if (entry === undefined) return;
    for (const piece of entry.pieces.indexes()) this.lost(entry, piece);
    for (const parent of entry.parents) this.#childGone(parent);
    this.peers.delete(peer);
    // Who had it as a parent may be given another.
    for (const other of this.peers.values()) other.parents.delete(peer);
  }

  /** Notes that `parent` was given to `child`. */
  link(child: PeerEntry, parent: string): void {
    if (child.parents.has(parent)) return;
    child.parents.add(parent);
    const entry = this.peers.get(parent);
    if (entry !== undefined) entry.children += 1;
  }

  /** Half of what hosts failed to give is forgotten; call it now and then. */
  forgive(): void {
    for (const entry of this.peers.values()) entry.failures = Math.floor(entry.failures / 2);
  }

  /** How many hosts have the piece. */
  copies(piece: number): number {
    return this.#counts[piece] ?? 0;
  }

  /** Pieces, of those the swarm should have, that no connected host holds. */
  missing(): number[] {
    const count = this.pieceCount ?? 0;
    const missing: number[] = [];
    for (let piece = 0; piece < count; piece += 1) {
      if (this.#counts[piece] === 0) missing.push(piece);
    }
    return missing;
  }

  get activePeers(): number {
    let active = 0;
    for (const entry of this.peers.values()) if (entry.isActive && !entry.isComplete) active += 1;
    return active;
  }

  #childGone(parent: string): void {
    const entry = this.peers.get(parent);
    if (entry !== undefined) entry.children = Math.max(0, entry.children - 1);
  }
}

/** Pieces kept track of while the length is unknown: 256 GiB at 4 MiB a piece. */
export const UNKNOWN_CAPACITY = 65_536;

/** What is known of one host. */
interface Share {
  /** Its versions, the one it spoke of longest ago first. */
  readonly versions: Set<SwarmVersion>;
  /** Pieces of all of them. */
  pieces: number;
}

/** Versions that are known of one host: as many as it keeps, and some that it begins. */
const MAX_VERSIONS = 6_000;
/** Pieces of those; one costs two bytes and, for each host, a bit. */
const MAX_PIECES = 16 * 1024 * 1024;
/** A host that downloads too much at a time is to try again after this long. */
const RETRY_MS = 10_000;

/** Who has what: hosts, tasks, versions. Soft state; hosts announce it again after a restart. */
export class SwarmTable {
  readonly hosts = new Map<string, HostEntry>();
  readonly #tasks = new Map<string, Map<string, SwarmVersion>>();
  readonly #shares = new Map<string, Share>();
  readonly #limits: { readonly maxVersions: number; readonly maxPieces: number };

  constructor(limits = { maxVersions: MAX_VERSIONS, maxPieces: MAX_PIECES }) {
    this.#limits = limits;
  }

  version(task: string, version: string): SwarmVersion | undefined {
    return this.#tasks.get(task)?.get(version);
  }

  /** Adds a version, or finds it; a length learned later completes the shape. */
  addVersion(task: string, shape: TaskShape): SwarmVersion {
    const versions = this.#tasks.get(task) ?? new Map<string, SwarmVersion>();
    this.#tasks.set(task, versions);
    const known = versions.get(shape.version);
    if (known !== undefined) {
      const isPrivate = known.shape.isPrivate === true || shape.isPrivate === true;
      if (known.shape.length === undefined && shape.length !== undefined)
        this.#reshape(known, shape);
      // Whoever says so first or last: what is private for one is private.
      if (isPrivate) known.shape = { ...known.shape, isPrivate };
      return known;
    }
    const created = new SwarmVersion(task, shape);
    versions.set(shape.version, created);
    return created;
  }

  *versions(): Generator<SwarmVersion> {
    for (const versions of this.#tasks.values()) yield* versions.values();
  }

  /** The versions that a host has to do with. */
  versionsOf(peer: string): Iterable<SwarmVersion> {
    return this.#shares.get(peer)?.versions ?? [];
  }

  /**
   * The host's entry in the version, made where there is none. When there are too many, the version that the host spoke
   * of longest ago is forgotten of it, but none that it downloads; ERR_BUSY when it downloads all of them.
   */
  join(version: SwarmVersion, peer: string): PeerEntry {
    const share = this.#shares.get(peer) ?? { versions: new Set(), pieces: 0 };
    if (!share.versions.delete(version)) {
      this.#makeRoom(share, peer, version);
      share.pieces += version.capacity;
    }
    share.versions.add(version);
    this.#shares.set(peer, share);
    return version.peer(peer);
  }

  /** Forgets what a host has of a version. */
  leave(version: SwarmVersion, peer: string): void {
    version.remove(peer);
    const share = this.#shares.get(peer);
    if (share?.versions.delete(version) !== true) return;
    share.pieces -= version.capacity;
    if (share.versions.size === 0) this.#shares.delete(peer);
  }

  /** Forgets versions that no host holds or wants; returns how many. */
  prune(isKept: (version: SwarmVersion) => boolean): number {
    let removed = 0;
    for (const [task, versions] of this.#tasks) {
      for (const [name, version] of versions) {
        if (version.peers.size > 0 || isKept(version)) continue;
        versions.delete(name);
        removed += 1;
      }
      if (versions.size === 0) this.#tasks.delete(task);
    }
    return removed;
  }

  /** Forgets a host everywhere. */
  removeHost(peer: string): void {
    this.hosts.delete(peer);
    for (const version of this.versionsOf(peer)) version.remove(peer);
    this.#shares.delete(peer);
  }

  #makeRoom(share: Share, peer: string, wanted: SwarmVersion): void {
    const { maxVersions, maxPieces } = this.#limits;
    const isFull = (): boolean =>
      share.versions.size >= maxVersions || share.pieces + wanted.capacity > maxPieces;
    if (!isFull()) return;
    for (const version of share.versions) {
      const entry = version.peers.get(peer);
      if (entry?.isActive === true && !entry.isComplete) continue;
      this.leave(version, peer);
      if (!isFull()) return;
    }
    // It may have been added for this host only.
    if (wanted.peers.size === 0) this.#tasks.get(wanted.task)?.delete(wanted.shape.version);
    throw new CodedError('ERR_BUSY', 'the host downloads as much as may be known of one', {
      detail: { versions: share.versions.size, pieces: share.pieces, retryAfterMs: RETRY_MS },
    });
  }

  #reshape(version: SwarmVersion, shape: TaskShape): void {
    const before = version.capacity;
    version.shape = shape;
    for (const peer of version.peers.keys()) {
      const share = this.#shares.get(peer);
      if (share !== undefined) share.pieces += version.capacity - before;
    }
  }
}
