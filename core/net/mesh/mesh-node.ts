// A mesh node: authenticated, framed sessions between hosts and supernodes over libp2p with noise. DESIGN.md beside
// this file tells how a session comes about and what bounds it.
import type { Connection, Libp2p, Stream } from '@libp2p/interface';
import { peerIdFromString } from '@libp2p/peer-id';
import type { Clock } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import type { Log } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import { hearHello, refusalFor, sayHello } from './admission.ts';
import type { Admission } from './admission.ts';
import { ConnectionGuard } from './connection-guard.ts';
import type { ConnectionCounts } from './connection-guard.ts';
import { Dialer } from './dialer.ts';
import { startLibp2p } from './libp2p-node.ts';
import { endpointOf } from './mesh-address.ts';
import { defaultMeshLimits } from './mesh-limits.ts';
import type { MeshLimits } from './mesh-limits.ts';
import type { MeshSession } from './mesh-session.ts';
import { openError } from './open-error.ts';
import { SessionTable } from './session-table.ts';
import { ChannelSession } from './session.ts';
import { StreamChannel } from './stream-channel.ts';

export type { Admission, AdmissionRequest } from './admission.ts';
export type { ConnectionCounts } from './connection-guard.ts';
export type { MeshLimits } from './mesh-limits.ts';
export type { MeshSession, SessionStats } from './mesh-session.ts';

export interface MeshNodeOptions {
  /** An ed25519 private key as libp2p's protobuf; its public half is the peer id. */
  readonly privateKeyProtobuf: Uint8Array;
  /** Where a supernode listens, an IP address and a port (0 takes a free one); hosts do not listen. */
  readonly listen?: { readonly host: string; readonly port: number } | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly limits?: Partial<MeshLimits>;
  /** Asked for each connection: none is made to a revoked key, and one that it makes ends with a word to say so. */
  readonly isRevoked?: (peerId: string) => boolean;
}

export interface HandleOptions {
  /** `members`: a session is handed over after admission; `anyone`: at once, with a deadline for each message. */
  readonly open: 'anyone' | 'members';
  /** More than these, and the oldest session of the peer on this protocol ends with ERR_BUSY. */
  readonly maxSessionsPerPeer: number;
  /** For `anyone`: longest wait for each message of the peer; for `members`: for hello and admission. */
  readonly deadlineMs?: number;
}

export interface DialOptions {
  /** Any other peer at the address is refused with ERR_NOT_MEMBER. */
  readonly expectedPeerId?: string | undefined;
  /** First words, for a protocol of members; the answer is `session.welcome`. Left out for a protocol of anyone. */
  readonly hello?: unknown;
  /** Longest time until the session is open; default `limits.dialMs`. */
  readonly timeoutMs?: number;
  readonly signal: AbortSignal;
}

/** How long closing waits for libp2p; with the goodbyes of sessions before, a node closes within 2 s. */
const STOP_MS = 1_200;

/** One end of the mesh: it dials, and when it listens it is dialled. */
export class MeshNode implements AsyncDisposable {
  readonly peerId: string;
  /** The port it listens on; undefined for a host. */
  readonly port: number | undefined;
  readonly #libp2p: Libp2p;
  readonly #guard: ConnectionGuard;
  readonly #dialer: Dialer;
  readonly #limits: MeshLimits;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #sessions = new SessionTable();
  readonly #isRevoked: (peerId: string) => boolean;
  #admission: Admission | undefined;
  #stopping: Promise<void> | undefined;

  private constructor(
    libp2p: Libp2p,
    guard: ConnectionGuard,
    options: MeshNodeOptions & { limits: MeshLimits },
  ) {
    this.#libp2p = libp2p;
    this.#guard = guard;
    this.#limits = options.limits;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#log = options.log;
    this.#isRevoked = options.isRevoked ?? (() => false);
    this.#dialer = new Dialer({ libp2p, guard, limits: options.limits, clock: options.clock });
    this.peerId = libp2p.peerId.toString();
    const [address] = libp2p.getMultiaddrs();
    this.port = address === undefined ? undefined : endpointOf(address).port;
  }

  /** Throws ERR_KEY_FILE, ERR_ADDRESS_IN_USE, or ERR_CONFIG for an address that cannot be listened on. */
  static async start(options: MeshNodeOptions): Promise<MeshNode> {
    const { privateKeyProtobuf, listen, clock, isRevoked } = options;
    const limits = { ...defaultMeshLimits, ...options.limits };
    const guard = new ConnectionGuard({ clock, limits });
    const denyRevoked = (peerId: { toString(): string }): boolean =>
      isRevoked?.(peerId.toString()) === true;
    const gater = {
      denyInboundConnection: guard.refuses.bind(guard),
      denyOutboundEncryptedConnection: denyRevoked,
    };
    const libp2p = await startLibp2p({ privateKeyProtobuf, listen, limits, gater });
    libp2p.addEventListener('connection:open', ({ detail }) => guard.opened(detail));
    return new MeshNode(libp2p, guard, { ...options, limits });
  }

  get counts(): ConnectionCounts & { readonly sessions: number } {
    return { ...this.#guard.counts, sessions: this.#sessions.size };
  }

  /** Decides who is let in on protocols of members; until it is set nobody is. */
  setAdmission(admission: Admission): void {
    this.#admission = admission;
  }

  /**
   * Answers sessions on `protocol`. What `onSession` throws ends its session with that error; a session lives on
   * after `onSession` has returned.
   */
  async handle(
    protocol: string,
    options: HandleOptions,
    onSession: (session: MeshSession) => Promise<void> | void,
  ): Promise<void> {
    const accept = async (stream: Stream, connection: Connection): Promise<void> => {
      const session = this.#newSession(protocol, { stream, connection, isStranger: true });
      try {
        await this.#letIn(session, connection, options);
        await onSession(session);
      } catch (error) {
        this.#log.debug(
          { peer: session.remotePeerId, protocol, err: error },
          'mesh session failed',
        );
        await session.close(refusalFor(error));
        if (this.#isRevoked(session.remotePeerId)) await closeConnection(connection);
      }
    };
    await this.#libp2p.handle(protocol, (stream, connection) => void accept(stream, connection), {
      // A session that ends still counts for a moment, so a peer at its limit needs room to come back.
      maxInboundStreams: options.maxSessionsPerPeer * 2 + 1,
      maxOutboundStreams: this.#limits.maxStreams,
    });
  }

  /**
   * Opens a session with the node at `address` (`HOST:PORT`, `[v6]:PORT`). Throws ERR_MESH_UNAVAILABLE with the
   * reason, ERR_NOT_MEMBER for another peer than expected, what the other side refused with, or the abort.
   */
  async dial(address: string, protocol: string, options: DialOptions): Promise<MeshSession> {
    const timeoutMs = options.timeoutMs ?? this.#limits.dialMs;
    using deadline = this.#clock.deadline(timeoutMs);
    const signal = AbortSignal.any([options.signal, deadline.signal]);
    try {
      this.#throwIfStopping();
      const { expectedPeerId } = options;
      const opened = await this.#dialer.open(address, protocol, { expectedPeerId, signal });
      this.#throwIfStopping();
      return await this.#greet(this.#newSession(protocol, opened), { ...options, signal });
    } catch (error) {
      if (deadline.signal.aborted && !options.signal.aborted) {
        throw new CodedError(
          'ERR_MESH_UNAVAILABLE',
          `no session with ${address}: no answer in time`,
          {
            cause: error,
            detail: { address, reason: 'timeout', timeoutMs },
          },
        );
      }
      throw dialError(error, { address, protocol, signal: options.signal });
    }
  }

  /** Ends everything with one peer, telling it `reason`. */
  async disconnect(peerId: string, reason?: CodedError): Promise<void> {
    await Promise.all(this.#sessions.of(peerId).map(async (session) => session.close(reason)));
    const connections = this.#libp2p.getConnections(peerIdFromString(peerId));
    await Promise.all(connections.map(async (connection) => closeConnection(connection)));
  }

  /** Says goodbye on every session and closes, within 2 s. */
  async close(): Promise<void> {
    this.#stopping ??= this.#stop();
    await this.#stopping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #stop(): Promise<void> {
    await Promise.all(this.#sessions.all().map(async (session) => session.close()));
    const stopped = Promise.resolve(this.#libp2p.stop()).catch((error: unknown) =>
      this.#log.debug({ err: error }, 'libp2p did not stop well'),
    );
    using patience = this.#clock.deadline(STOP_MS);
    const late = new Promise<void>((resolve) =>
      patience.signal.addEventListener('abort', () => resolve()),
    );
    await Promise.race([stopped, late]);
    const error = new CodedError('ERR_INTERRUPTED', 'this node is closed');
    for (const session of this.#sessions.all()) session.end(error);
    for (const connection of this.#libp2p.getConnections()) connection.abort(error);
    this.#guard[Symbol.dispose]();
  }

  #newSession(
    protocol: string,
    opened: { stream: Stream; connection: Connection; hold?: Disposable; isStranger?: boolean },
  ): ChannelSession {
    const { stream, connection, isStranger = false } = opened;
    const hold = opened.hold ?? this.#guard.hold(connection);
    const session = new ChannelSession({
      channel: new StreamChannel(stream),
      remotePeerId: connection.remotePeer.toString(),
      remoteAddress: endpointOf(connection.remoteAddr).ip,
      protocol,
      clock: this.#clock,
      random: this.#random,
      limits: this.#limits,
      isStranger,
      onSilent: () => connection.abort(new CodedError('ERR_LINK', 'the other side is silent')),
    });
    this.#sessions.add(session);
    void session.closed.then(() => hold[Symbol.dispose]());
    return session;
  }

  /** Throws what keeps the peer out; it has been told then, or will be. */
  async #letIn(
    session: ChannelSession,
    connection: Connection,
    options: HandleOptions,
  ): Promise<void> {
    this.#throwIfStopping();
    this.#refuseRevoked(session.remotePeerId);
    const { open, maxSessionsPerPeer, deadlineMs: stepMs = this.#limits.stepMs } = options;
    if (open === 'anyone') {
      session.limitSteps(stepMs);
    } else {
      const admission = this.#admission;
      const admit: Admission | undefined =
        admission === undefined
          ? undefined
          : async (request) => {
              const welcome = await admission(request);
              this.#guard.admit(connection);
              session.trust();
              return welcome;
            };
      await hearHello(session, admit, { clock: this.#clock, stepMs });
    }
    this.#sessions.admit(session, maxSessionsPerPeer);
  }

  /** Whoever is out is told so once he asks for anything: else he could not tell it from a supernode that is busy. */
  #refuseRevoked(peerId: string): void {
    if (!this.#isRevoked(peerId)) return;
    throw new CodedError(
      'ERR_NOT_MEMBER',
      'this host is revoked: its key is put out of the cell for good',
      { detail: { peerId } },
    );
  }

  async #greet(
    session: ChannelSession,
    options: DialOptions & { signal: AbortSignal },
  ): Promise<MeshSession> {
    if (options.hello === undefined) return session;
    try {
      await sayHello(session, options.hello, options);
      return session;
    } catch (error) {
      session.end(refusalFor(error));
      throw error;
    }
  }

  #throwIfStopping(): void {
    if (this.#stopping !== undefined) {
      throw new CodedError('ERR_INTERRUPTED', 'this node is closing');
    }
  }
}

/** A session that is lost while it opens is one that could not be opened. */
function dialError(
  error: unknown,
  context: { address: string; protocol: string; signal: AbortSignal },
): CodedError {
  if (error instanceof CodedError && error.code !== 'ERR_LINK') return error;
  return openError(
    error instanceof CodedError ? (error.cause ?? new Error(error.message)) : error,
    context,
  );
}

async function closeConnection(connection: Connection): Promise<void> {
  try {
    await connection.close();
  } catch (error) {
    connection.abort(CodedError.from(error));
  }
}
