import type { Parent } from '../wire/messages.ts';
import { ParentLink } from './parent-link.ts';
import type { ParentLinkContext, ParentLinkEvents } from './parent-link.ts';

/** Parents of one task that are linked or dialled; past it one that cannot be reached makes room, or none is added. */
const MAX_PARENTS = 64;

/** The parents of one task. */
export class ParentLinks {
  readonly #context: ParentLinkContext;
  readonly #events: ParentLinkEvents;
  readonly #links = new Map<string, ParentLink>();

  constructor(context: ParentLinkContext, events: ParentLinkEvents) {
    this.#context = context;
    this.#events = events;
  }

  all(): readonly ParentLink[] {
    return [...this.#links.values()];
  }

  /** Who is closed or banned does not count as a holder either. */
  open(): readonly ParentLink[] {
    return this.all().filter((link) => link.isOpen && !link.isBanned);
  }

  get(peer: string): ParentLink | undefined {
    return this.#links.get(peer);
  }

  /** Adds a parent, or takes over where it is now. */
  add(parent: Parent): void {
    const known = this.#links.get(parent.peer);
    if (known !== undefined) {
      known.addresses = parent.addresses;
      return;
    }
    if (this.#links.size >= MAX_PARENTS && !this.#dropOne()) return;
    this.#links.set(parent.peer, new ParentLink(parent, this.#context, this.#events));
  }

  async close(): Promise<void> {
    await Promise.all(this.all().map(async (link) => link.close()));
  }

  /** Forgets a peer that cannot be reached or is banned; seeds stay, they are the last resort. */
  #dropOne(): boolean {
    const useless = this.all().find(
      (link) => link.role === 'peer' && link.inFlight === 0 && (link.isBanned || link.isFailing),
    );
    if (useless === undefined) return false;
    this.#links.delete(useless.peer);
    // A channel that is just being opened is closed when it is.
    void useless.close();
    return true;
  }
}
