import type { Connection, MultiaddrConnection } from '@libp2p/interface';
import type { Clock, Timer } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import { endpointOf } from './mesh-address.ts';
import type { MeshLimits } from './mesh-limits.ts';

/** How many connections a node has, inbound but for the last. */
export interface ConnectionCounts {
  readonly members: number;
  /** No member has shown itself on them (yet). */
  readonly strangers: number;
  /** Those of the strangers that are not encrypted yet. */
  readonly handshaking: number;
  readonly outbound: number;
}

interface Entry {
  readonly ip: string;
  role: 'stranger' | 'member' | 'outbound';
  /** Sessions on the connection, and attempts to open one. */
  holds: number;
  idleTimer?: Timer;
  strangerTimer?: Timer;
}

/**
 * Bounds the connections of a node. A stranger gets a place among few, for a short time; a connection that carries
 * no session is closed; a member's place is bounded by `maxConnections`.
 */
export class ConnectionGuard implements Disposable {
  readonly #clock: Clock;
  readonly #limits: MeshLimits;
  /** Inbound sockets that are not connections yet, by ip and port. */
  readonly #pending = new Map<string, Entry>();
  readonly #entries = new Map<Connection, Entry>();
  readonly #strangersByAddress = new Map<string, number>();
  #strangers = 0;
  #members = 0;

  constructor(options: { clock: Clock; limits: MeshLimits }) {
    this.#clock = options.clock;
    this.#limits = options.limits;
  }

  get counts(): ConnectionCounts {
    const handshaking = this.#pending.size;
    const inbound = this.#members + this.#strangers - handshaking;
    return {
      members: this.#members,
      strangers: this.#strangers,
      handshaking,
      outbound: this.#entries.size - inbound,
    };
  }

  /** True refuses an accepted socket; else it counts as a stranger until it closes or shows a member. */
  refuses(socket: MultiaddrConnection): boolean {
    const { maxStrangers, maxStrangersPerAddress } = this.#limits;
    const { ip, port } = endpointOf(socket.remoteAddr);
    const fromThere = this.#strangersByAddress.get(ip) ?? 0;
    if (this.#strangers >= maxStrangers || fromThere >= maxStrangersPerAddress) return true;
    this.#strangersByAddress.set(ip, fromThere + 1);
    this.#strangers += 1;
    const entry: Entry = { ip, role: 'stranger', holds: 0 };
    entry.strangerTimer = this.#after(this.#limits.strangerMs, () =>
      socket.abort(new CodedError('ERR_TIMEOUT', 'no member showed itself on this connection')),
    );
    const key = `${ip} ${port}`;
    this.#pending.set(key, entry);
    socket.addEventListener('close', () => {
      if (this.#pending.get(key) === entry) this.#pending.delete(key);
      this.#release(entry);
    });
    return false;
  }

  /** A connection is encrypted and may carry streams. */
  opened(connection: Connection): void {
    const { ip, port } = endpointOf(connection.remoteAddr);
    const key = `${ip} ${port}`;
    const isInbound = connection.direction === 'inbound';
    const pending = isInbound ? this.#pending.get(key) : undefined;
    const entry: Entry = pending ?? { ip, role: 'outbound', holds: 0 };
    this.#pending.delete(isInbound ? key : '');
    if (connection.status !== 'open') return;
    this.#entries.set(connection, entry);
    connection.addEventListener('close', () => {
      this.#entries.delete(connection);
      entry.idleTimer?.cancel();
    });
    this.#startIdle(connection, entry);
  }

  /** Keeps a connection from being idle until disposed. */
  hold(connection: Connection): Disposable {
    const entry = this.#entries.get(connection);
    if (entry === undefined) return { [Symbol.dispose]: () => undefined };
    entry.holds += 1;
    entry.idleTimer?.cancel();
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        entry.holds -= 1;
        if (entry.holds === 0) this.#startIdle(connection, entry);
      },
    };
  }

  isHeld(connection: Connection): boolean {
    return (this.#entries.get(connection)?.holds ?? 0) > 0;
  }

  /** A member showed itself: the connection is no stranger's any more. ERR_BUSY when there are too many members. */
  admit(connection: Connection): void {
    const entry = this.#entries.get(connection);
    if (entry === undefined || entry.role !== 'stranger') return;
    if (this.#members >= this.#limits.maxConnections) {
      throw new CodedError('ERR_BUSY', 'this supernode has as many hosts as it can take', {
        detail: { maxConnections: this.#limits.maxConnections },
      });
    }
    this.#release(entry);
    entry.role = 'member';
    this.#members += 1;
    connection.addEventListener('close', () => (this.#members -= 1), { once: true });
  }

  [Symbol.dispose](): void {
    for (const entry of this.#pending.values()) entry.strangerTimer?.cancel();
    for (const entry of this.#entries.values()) {
      entry.idleTimer?.cancel();
      entry.strangerTimer?.cancel();
    }
  }

  #startIdle(connection: Connection, entry: Entry): void {
    if (connection.status !== 'open') return;
    entry.idleTimer = this.#after(this.#limits.idleConnectionMs, () => {
      void connection.close().catch((error: unknown) => connection.abort(CodedError.from(error)));
    });
  }

  #release(entry: Entry): void {
    if (entry.role !== 'stranger' || entry.strangerTimer === undefined) return;
    entry.strangerTimer.cancel();
    delete entry.strangerTimer;
    this.#strangers -= 1;
    const left = (this.#strangersByAddress.get(entry.ip) ?? 1) - 1;
    if (left === 0) this.#strangersByAddress.delete(entry.ip);
    else this.#strangersByAddress.set(entry.ip, left);
  }

  #after(ms: number, task: () => void): Timer {
    return this.#clock.after(ms, task, { ref: false });
  }
}
