import type { Clock } from '../../core/base/clock.ts';
import type { Random } from '../../core/base/random.ts';
import type { Parent } from '../../core/wire/messages.ts';
import { MAX_PARENTS, pickParents } from '../schedule/pick-parents.ts';
import type { Candidate } from '../schedule/pick-parents.ts';
import type { HostEntry, SwarmTable, SwarmVersion } from '../swarm-table/swarm-table.ts';

export interface IntroductionParts {
  /** The seed. */
  readonly self: { readonly peer: string; readonly addresses: readonly string[] };
  readonly table: SwarmTable;
  readonly clock: Clock;
  readonly random: Random;
  /** Tells a connected host of a parent. */
  tell(peer: string, version: SwarmVersion, parent: Parent): void;
}

/** Who is introduced to whom: parents for a host that asks, and newcomers to those who are short of parents. */
export class Introductions {
  readonly #parts: IntroductionParts;

  constructor(parts: IntroductionParts) {
    this.#parts = parts;
  }

  /** Parents for a host that takes part, noted as given to it. */
  parentsFor(
    version: SwarmVersion,
    child: string,
    options: { readonly withSeed: boolean },
  ): Parent[] {
    const { table, random } = this.#parts;
    const entry = table.join(version, child);
    const candidates = this.#candidates(version);
    if (options.withSeed) candidates.push(this.#seed());
    const idc = table.hosts.get(child)?.idc;
    const parents: Parent[] = [];
    for (const { peer, role, reason } of pickParents({ peer: child, idc }, candidates, {
      random,
    })) {
      const addresses = this.#addressesOf(peer);
      if (addresses === undefined) continue;
      version.link(entry, peer);
      parents.push({ peer, role, reason, addresses: [...addresses] });
    }
    return parents;
  }

  /** Tells those who are short of parents about a newcomer. */
  introduce(version: SwarmVersion, newcomer: string): void {
    const host = this.#parts.table.hosts.get(newcomer);
    if (host === undefined || !this.isOffered(host)) return;
    const addresses = [...host.addresses];
    const parent: Parent = { peer: newcomer, addresses, role: 'peer', reason: 'newcomer' };
    for (const entry of version.peers.values()) {
      if (entry.peer === newcomer || !entry.isActive || entry.isComplete) continue;
      if (entry.parents.size >= MAX_PARENTS) continue;
      version.link(entry, newcomer);
      this.#parts.tell(entry.peer, version, parent);
    }
  }

  /** Tells a host that downloads the version that the seed has taken it up. */
  introduceSeed(version: SwarmVersion, child: string): void {
    const { peer, addresses } = this.#parts.self;
    const seed: Parent = { peer, addresses: [...addresses], role: 'seed', reason: 'seed' };
    this.#parts.tell(child, version, seed);
  }

  /** True when others may be told of the host: it is there, can be reached, and neither withheld nor in quarantine. */
  isOffered(host: HostEntry): boolean {
    const now = this.#parts.clock.monotonic();
    const isTrusted = host.quarantinedUntilMs <= now && host.withheldUntilMs <= now;
    return host.isConnected && host.isReachable && isTrusted;
  }

  #candidates(version: SwarmVersion): Candidate[] {
    const candidates: Candidate[] = [];
    const count = version.pieceCount ?? 0;
    for (const entry of version.peers.values()) {
      const host = this.#parts.table.hosts.get(entry.peer);
      if (host === undefined || !this.isOffered(host)) continue;
      candidates.push({
        peer: entry.peer,
        idc: host.idc,
        role: 'peer',
        share: count === 0 ? 0 : entry.pieces.count / count,
        children: entry.children,
        failures: entry.failures,
      });
    }
    return candidates;
  }

  #seed(): Candidate {
    const { peer } = this.#parts.self;
    return { peer, idc: undefined, role: 'seed', share: 1, children: 0, failures: 0 };
  }

  #addressesOf(peer: string): readonly string[] | undefined {
    const { self, table } = this.#parts;
    return peer === self.peer ? self.addresses : table.hosts.get(peer)?.addresses;
  }
}
