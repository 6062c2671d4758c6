import { CodedError } from '../../base/error.ts';
import type { ChannelSession } from './session.ts';

/** The open sessions of a node, by peer. */
export class SessionTable {
  readonly #byPeer = new Map<string, Set<ChannelSession>>();
  readonly #admitted = new WeakSet<ChannelSession>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds a session until it ends. */
  add(session: ChannelSession): void {
    if (session.hasEnded) return;
    const peer = session.remotePeerId;
    const sessions = this.#byPeer.get(peer) ?? new Set();
    this.#byPeer.set(peer, sessions.add(session));
    this.#size += 1;
    void session.closed.then(() => {
      this.#size -= 1;
      sessions.delete(session);
      if (sessions.size === 0 && this.#byPeer.get(peer) === sessions) this.#byPeer.delete(peer);
    });
  }

  /**
   * Counts a session among those that its peer was let in with, and ends the oldest of them past `max` on the same
   * protocol. The newest wins: a host that comes back after its network broke must not wait until we notice that its
   * old session is dead.
   */
  admit(session: ChannelSession, max: number): void {
    this.#admitted.add(session);
    const { remotePeerId, protocol } = session;
    const same = this.of(remotePeerId).filter(
      (other) => other.protocol === protocol && this.#admitted.has(other),
    );
    for (const old of same.slice(0, Math.max(0, same.length - max))) {
      old.end(new CodedError('ERR_BUSY', 'a newer session of the same peer took its place'));
    }
  }

  of(peerId: string): ChannelSession[] {
    return [...(this.#byPeer.get(peerId) ?? [])];
  }

  all(): ChannelSession[] {
    return [...this.#byPeer.values()].flatMap((sessions) => [...sessions]);
  }
}
