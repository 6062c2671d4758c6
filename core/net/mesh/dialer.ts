import type { Connection, Libp2p, Stream } from '@libp2p/interface';
import type { Clock } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import type { ConnectionGuard } from './connection-guard.ts';
import { isUnsupportedProtocol, openError } from './open-error.ts';
import { resolveAddress } from './mesh-address.ts';
import type { MeshLimits } from './mesh-limits.ts';

export interface OpenOptions {
  readonly expectedPeerId: string | undefined;
  readonly signal: AbortSignal;
}

/** A stream that was opened, the connection it is on, and what keeps that connection. */
export interface OpenedStream {
  readonly stream: Stream;
  readonly connection: Connection;
  readonly hold: Disposable;
}

/** A kept connection that does not answer for this long is given up for a fresh one. */
const KEPT_CONNECTION_MS = 3_000;

/** Opens streams to addresses; the sessions to one address share a connection. */
export class Dialer {
  readonly #libp2p: Libp2p;
  readonly #guard: ConnectionGuard;
  readonly #limits: MeshLimits;
  readonly #clock: Clock;
  readonly #kept = new Map<string, Connection>();

  constructor(options: {
    libp2p: Libp2p;
    guard: ConnectionGuard;
    limits: MeshLimits;
    clock: Clock;
  }) {
    this.#clock = options.clock;
    this.#libp2p = options.libp2p;
    this.#guard = options.guard;
    this.#limits = options.limits;
  }

  /** Throws ERR_MESH_UNAVAILABLE, ERR_NOT_MEMBER for another peer than expected, or the reason of `signal`. */
  async open(address: string, protocol: string, options: OpenOptions): Promise<OpenedStream> {
    const { expectedPeerId, signal } = options;
    const kept = this.#keptConnection(address, expectedPeerId);
    if (kept !== undefined) {
      const opened = await this.#openOnKept(kept, { address, protocol, signal });
      if (opened !== undefined) return opened;
    }
    const connection = await this.#connect(address, signal);
    this.#check(connection, address, expectedPeerId);
    this.#keep(address, connection);
    try {
      return await this.#openStream(connection, protocol, signal);
    } catch (error) {
      throw openError(error, { address, protocol, signal });
    }
  }

  #keptConnection(address: string, expectedPeerId: string | undefined): Connection | undefined {
    const kept = this.#kept.get(address);
    if (kept === undefined || kept.status !== 'open') return undefined;
    const isExpected =
      expectedPeerId === undefined || kept.remotePeer.toString() === expectedPeerId;
    return isExpected ? kept : undefined;
  }

  /** Undefined when the connection proved dead; it has been dropped then. */
  async #openOnKept(
    kept: Connection,
    options: { address: string; protocol: string; signal: AbortSignal },
  ): Promise<OpenedStream | undefined> {
    const { protocol, signal } = options;
    using patience = this.#clock.deadline(KEPT_CONNECTION_MS);
    try {
      const either = AbortSignal.any([signal, patience.signal]);
      return await this.#openStream(kept, protocol, either);
    } catch (error) {
      if (signal.aborted || isUnsupportedProtocol(error)) throw openError(error, options);
      if (kept.status === 'open') {
        // Other sessions may be well on it; they notice by themselves when it is dead.
        if (this.#guard.isHeld(kept)) throw openError(error, options);
        kept.abort(CodedError.from(error));
      }
      return undefined;
    }
  }

  /** Tries the addresses of a name in turn, each for its share of the time. */
  async #connect(address: string, signal: AbortSignal): Promise<Connection> {
    const targets = await resolveAddress(address, signal);
    const context = { address, protocol: undefined, signal };
    let lastError: unknown;
    for (const target of targets) {
      using share = this.#clock.deadline(this.#limits.dialMs / targets.length);
      try {
        return await this.#libp2p.dial(target, {
          signal: AbortSignal.any([signal, share.signal]),
        });
      } catch (error) {
        if (signal.aborted) throw openError(error, context);
        lastError = share.signal.aborted ? share.signal.reason : error;
      }
    }
    throw openError(lastError, context);
  }

  #check(connection: Connection, address: string, expectedPeerId: string | undefined): void {
    const peerId = connection.remotePeer.toString();
    if (expectedPeerId === undefined || peerId === expectedPeerId) return;
    const error = new CodedError('ERR_NOT_MEMBER', `another peer than expected is at ${address}`, {
      detail: { address, expectedPeerId, peerId },
    });
    if (!this.#guard.isHeld(connection)) connection.abort(error);
    throw error;
  }

  #keep(address: string, connection: Connection): void {
    if (this.#kept.get(address) === connection) return;
    this.#kept.set(address, connection);
    connection.addEventListener('close', () => {
      if (this.#kept.get(address) === connection) this.#kept.delete(address);
    });
  }

  async #openStream(
    connection: Connection,
    protocol: string,
    signal: AbortSignal,
  ): Promise<OpenedStream> {
    const hold = this.#guard.hold(connection);
    try {
      const stream = await connection.newStream(protocol, {
        signal,
        maxOutboundStreams: this.#limits.maxStreams,
      });
      return { stream, connection, hold };
    } catch (error) {
      hold[Symbol.dispose]();
      throw error;
    }
  }
}
