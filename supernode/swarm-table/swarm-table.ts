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
}

/** What one host has of one version. */
export interface PeerEntry {
  readonly peer: string;
  readonly pieces: Bitfield;
  isComplete: boolean;
  /** It downloads and may have what it downloads: it hears of parents and manifest. */
  isActive: boolean;
  /** The origin was asked with this host's credentials since it connected, and said yes. */
  isEntitled: boolean;
  readonly parents: Set<string>;
  children: number;
  failures: number;
  fromPeers: number;
  fromSeed: number;
  fromOrigin: number;
}

/** One version of a task in the swarm: its shape and who has what. */
export class SwarmVersion {
  readonly task: string;
  shape: TaskShape;
  readonly peers = new Map<string, PeerEntry>();
  /** How many hosts hold each piece. */
  #counts: Uint16Array;

  constructor(task: string, shape: TaskShape) {
    this.task = task;
    this.shape = shape;
    this.#counts = new Uint16Array(this.#capacity());
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
      pieces: new Bitfield(this.#capacity()),
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

  #capacity(): number {
    return this.pieceCount ?? UNKNOWN_CAPACITY;
  }

  #childGone(parent: string): void {
    const entry = this.peers.get(parent);
    if (entry !== undefined) entry.children = Math.max(0, entry.children - 1);
  }
}

/** Pieces kept track of while the length is unknown: 256 GiB at 4 MiB a piece. */
export const UNKNOWN_CAPACITY = 65_536;

/** Who has what: hosts, tasks, versions. Soft state; hosts announce it again after a restart. */
export class SwarmTable {
  readonly hosts = new Map<string, HostEntry>();
  readonly #tasks = new Map<string, Map<string, SwarmVersion>>();

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
      if (known.shape.length === undefined && shape.length !== undefined) known.shape = shape;
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
    for (const version of this.versions()) version.remove(peer);
  }
}
