import { CodedError } from '../../base/error.ts';
import type { Link } from './link.ts';
import type { LinkLimits } from './limits.ts';

/** The links of an endpoint, by peer. */
export class LinkTable {
  readonly #limits: LinkLimits;
  readonly #byPeer = new Map<string, Set<Link>>();
  #size = 0;
  #accepted = 0;

  constructor(limits: LinkLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#size;
  }

  /** Those that the other side dialled. */
  get accepted(): number {
    return this.#accepted;
  }

  add(link: Link): void {
    const links = this.#byPeer.get(link.peerId) ?? new Set();
    this.#byPeer.set(link.peerId, links.add(link));
    this.#size += 1;
    if (link.side === 'listener') this.#accepted += 1;
  }

  remove(link: Link): void {
    const links = this.#byPeer.get(link.peerId);
    if (links?.delete(link) !== true) return;
    if (links.size === 0) this.#byPeer.delete(link.peerId);
    this.#size -= 1;
    if (link.side === 'listener') this.#accepted -= 1;
  }

  /** A link to the peer, whoever dialled it; our own first. */
  find(peerId: string): Link | undefined {
    const links = [...(this.#byPeer.get(peerId) ?? [])];
    return links.find(({ side }) => side === 'dialler') ?? links[0];
  }

  /** May be gone through while links close. */
  *all(): Generator<Link> {
    for (const links of this.#byPeer.values()) yield* links;
  }

  /** Makes room for a link to the peer, by closing an idle one if need be; ERR_BUSY when there is none. */
  admit(peerId: string): void {
    const { maxLinks, maxLinksPerPeer } = this.#limits;
    const ofPeer = this.#byPeer.get(peerId)?.size ?? 0;
    if (ofPeer >= maxLinksPerPeer) throw busy('links to this peer are open', maxLinksPerPeer);
    if (this.#size < maxLinks) return;
    const idle = this.all().find((link) => link.isIdle);
    if (idle === undefined) throw busy('links are open and in use', maxLinks);
    idle.close(new CodedError('ERR_BUSY', 'the link was idle and others are waiting'));
  }
}

function busy(what: string, limit: number): CodedError {
  return new CodedError('ERR_BUSY', `${limit} ${what}`, { detail: { limit } });
}
