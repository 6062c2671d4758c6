import type { Clock, Timer } from '../../core/base/clock.ts';
import type { Random } from '../../core/base/random.ts';
import type { Parent } from '../../core/wire/messages.ts';
import { LEVEL_AFTER_MS, PeerGraph } from '../schedule/peer-graph.ts';
import type { PeerLink } from '../schedule/peer-graph.ts';
import type { HostEntry, SwarmTable, SwarmVersion } from '../swarm-table/swarm-table.ts';

export interface IntroductionParts {
  /** The seed. */
  readonly self: {
    readonly peer: string;
    readonly addresses: readonly string[];
    readonly idc?: string | undefined;
  };
  readonly table: SwarmTable;
  readonly clock: Clock;
  readonly random: Random;
  /** Tells a connected host of a parent. */
  tell(peer: string, version: SwarmVersion, parent: Parent): void;
}

/** A host that others say this often that it sent nothing, or a wrong piece, is told to nobody else. */
const MAX_FAILURES = 20;

/** Who is introduced to whom: hosts that take a version are linked as `PeerGraph` says, and both sides hear of it. */
export class Introductions {
  readonly #parts: IntroductionParts;
  readonly #graphs = new WeakMap<SwarmVersion, PeerGraph>();
  readonly #levelling = new WeakMap<SwarmVersion, Timer>();

  constructor(parts: IntroductionParts) {
    this.#parts = parts;
  }

  /** A host has something of the version, or wants it: those it is linked with hear of it. */
  entered(version: SwarmVersion, peer: string): void {
    const idc = this.#parts.table.hosts.get(peer)?.idc;
    const graph = this.#graphOf(version);
    if (!graph.has(peer)) this.#levelLater(version, graph);
    this.#tellBoth(version, graph.join(peer, idc), peer);
  }

  /** A host has left the version; those who lost a link with it may get others. */
  left(version: SwarmVersion, peer: string): void {
    this.#tellBoth(version, this.#graphOf(version).leave(peer));
  }

  /** Parents for a host that takes part, and more of them when those it has do not bring it forward. */
  parentsFor(
    version: SwarmVersion,
    child: string,
    options: { readonly withSeed: boolean; readonly isStuck?: boolean },
  ): Parent[] {
    const graph = this.#graphOf(version);
    if (options.isStuck === true && graph.has(child)) {
      this.#tellBoth(version, graph.more(child), child);
    } else this.entered(version, child);
    const parents = graph
      .linksOf(child)
      .map((other) => this.#parent(version, other, child))
      .filter((parent) => parent !== undefined);
    const entry = this.#parts.table.join(version, child);
    for (const { peer } of parents) version.link(entry, peer);
    return options.withSeed ? [this.#seed(), ...parents] : parents;
  }

  /** Tells a host that downloads the version that the seed has taken it up. */
  introduceSeed(version: SwarmVersion, child: string): void {
    this.#parts.tell(child, version, this.#seed());
  }

  /** True when others may be told of the host: it is there, can be reached, and neither withheld nor in quarantine. */
  isOffered(host: HostEntry): boolean {
    const now = this.#parts.clock.monotonic();
    const isTrusted = host.quarantinedUntilMs <= now && host.withheldUntilMs <= now;
    return host.isConnected && host.isReachable && isTrusted;
  }

  #levelLater(version: SwarmVersion, graph: PeerGraph): void {
    this.#levelling.get(version)?.cancel();
    const level = (): void => {
      this.#levelling.delete(version);
      this.#tellBoth(version, graph.level());
    };
    const timer = this.#parts.clock.after(LEVEL_AFTER_MS, level, { ref: false });
    this.#levelling.set(version, timer);
  }

  #graphOf(version: SwarmVersion): PeerGraph {
    const known = this.#graphs.get(version);
    if (known !== undefined) return known;
    const created = new PeerGraph({ random: this.#parts.random });
    this.#graphs.set(version, created);
    return created;
  }

  /** Tells both ends of new links of each other, but for one that is told in a reply. */
  #tellBoth(version: SwarmVersion, links: readonly PeerLink[], butFor?: string): void {
    for (const [one, other] of links) {
      for (const [child, parent] of [
        [one, other],
        [other, one],
      ] as const) {
        const entry = version.peers.get(child);
        if (child === butFor || entry?.isActive !== true || entry.isComplete) continue;
        const told = this.#parent(version, parent, child);
        if (told === undefined) continue;
        version.link(entry, parent);
        this.#parts.tell(child, version, told);
      }
    }
  }

  /** A host as a parent of another; undefined while it is not one to be told of. */
  #parent(version: SwarmVersion, peer: string, child: string): Parent | undefined {
    const { table } = this.#parts;
    const host = table.hosts.get(peer);
    const entry = version.peers.get(peer);
    if (host === undefined || entry === undefined) {
      // It was forgotten to make room for others.
      this.#graphOf(version).leave(peer);
      return undefined;
    }
    if (!this.isOffered(host) || entry.failures >= MAX_FAILURES) return undefined;
    const count = version.pieceCount ?? 0;
    const share = count === 0 ? 0 : Math.floor((entry.pieces.count / count) * 100);
    const place = host.idc === table.hosts.get(child)?.idc ? 'same idc' : 'other idc';
    const reason = `${place}, ${entry.isComplete ? 'complete' : `has ${share} %`}`;
    return { peer, addresses: [...host.addresses], role: 'peer', ...idcOf(host), reason };
  }

  #seed(): Parent {
    const { peer, addresses, ...self } = this.#parts.self;
    return { peer, addresses: [...addresses], role: 'seed', ...idcOf(self), reason: 'seed' };
  }
}

function idcOf({ idc }: { readonly idc?: string | undefined }): Pick<Parent, 'idc'> {
  return idc === undefined ? {} : { idc };
}
