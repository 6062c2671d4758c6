import { once } from 'node:events';
import type { Server, Socket } from 'node:net';
import type { Clock } from '../../base/clock.ts';
import type { Compression } from '../../compression/compression.ts';
import { CodedError, systemCode } from '../../base/error.ts';
import type { Log } from '../../base/log.ts';
import type { RateLimiter } from '../pacing.ts';
import type { LateBytes } from './channel.ts';
import { Dialler } from './dialler.ts';
import type { DialAttempt, PeerAddresses } from './dialler.ts';
import { acceptLink, dialLink } from './greeting.ts';
import type { GreetingContext } from './greeting.ts';
import { Inflow } from './inflow.ts';
import type { Link, LinkContext } from './link.ts';
import type { LinkIdentity, LinkTrust } from './link-identity.ts';
import { socketServer } from './link-socket.ts';
import type { LinkEncryption } from './link-socket.ts';
import { LinkTable } from './link-table.ts';
import { defaultLinkLimits } from './limits.ts';
import type { LinkLimits } from './limits.ts';
import { LineShare } from './line-share.ts';
import type { OfferedManifest, SentPiece } from './served-channel.ts';
import { ReadBeat } from './read-beat.ts';
import { ServedIndex } from './served-index.ts';
import type { FindTask } from './served-task.ts';
import { keyOf } from './task-version.ts';
import type { TaskVersion } from './task-version.ts';
import { Ticker } from './ticker.ts';
import type { TickTime } from './ticker.ts';
import { Uploads } from './uploads.ts';

/** What the owner of an endpoint may want to hear of; called synchronously. */
export interface LinkEvents {
  readonly onLinkOpened?: (link: Link) => void;
  readonly onLinkClosed?: (link: Link, error: CodedError) => void;
  /** A child took a piece from here. */
  readonly onSent?: (sent: SentPiece) => void;
  /** A child passed manifest batches on to us. */
  readonly onOffered?: (offered: OfferedManifest) => void;
  /** Bytes came that had been cancelled. */
  readonly onLateBytes?: (late: LateBytes) => void;
}

/** What an endpoint is made of. */
export interface LinkEndpointOptions {
  readonly identity: LinkIdentity;
  readonly trust: LinkTrust;
  /** This host's own membership record, asked for at each handshake. */
  readonly record: () => string;
  readonly encryption: LinkEncryption;
  readonly findTask: FindTask;
  readonly clock: Clock;
  readonly log: Log;
  /** Paid for each block of payload before it is sent. */
  readonly uploadLimiter?: RateLimiter | undefined;
  /** Paid for what comes of pieces before it is handed on. */
  readonly downloadLimiter?: RateLimiter | undefined;
  /** Compresses what is sent over slow links, and takes what comes compressed; absent: neither. Not closed by us. */
  readonly compression?: Compression | undefined;
  readonly limits?: Partial<LinkLimits> | undefined;
  readonly events?: LinkEvents | undefined;
}

/** Counters since the start, and how things are now. */
export interface LinkStats {
  /** Payload of pieces received, late bytes aside, and sent; of what is compressed, as it is on the wire. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Read from links: frames of all kinds, what waits for a limit and what came in vain among them. */
  readonly receivedBytes: number;
  /** Payload that came after its fetch was cancelled. */
  readonly duplicateBytes: number;
  readonly links: number;
  /** Accepted connections that are not links yet. */
  readonly unauthenticated: number;
  /** Channels open, those opened here and those opened by others. */
  readonly channels: number;
  /** Bytes that wait in this process to be sent. */
  readonly queuedBytes: number;
  readonly queuedRequests: number;
  readonly activeUploads: number;
  /** Connections and OPENs turned away. */
  readonly refused: number;
}

/** Where to accept connections. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
  /** Other threads of this program listen on the same port. */
  readonly reusePort?: boolean;
}

/** All piece links of one thread: those it dials and those it accepts. */
export class LinkEndpoint implements AsyncDisposable {
  readonly #options: LinkEndpointOptions;
  readonly #limits: LinkLimits;
  readonly #links: LinkTable;
  readonly #uploads: Uploads;
  readonly #inflow: Inflow;
  readonly #beat: ReadBeat;
  readonly #greeting: GreetingContext;
  readonly #dialler: Dialler;
  readonly #ticker: Ticker;
  readonly #line = new LineShare();
  readonly #served = new ServedIndex();
  readonly #servers: Server[] = [];
  /** Accepted connections, links or not, until they are closed. */
  readonly #inbound = new Set<Socket>();
  /** Links whose sockets are not closed yet, those that were said goodbye to among them. */
  readonly #lingering = new Set<Link>();
  #sinceRecheckMs = 0;
  #bytesIn = 0;
  /** Over links that are closed. */
  #receivedBefore = 0;
  #duplicateBytes = 0;
  #refused = 0;
  #isClosed = false;

  constructor(options: LinkEndpointOptions) {
    const { identity, encryption, record, clock } = options;
    this.#options = options;
    this.#limits = { ...defaultLinkLimits, ...options.limits };
    const limits = this.#limits;
    this.#links = new LinkTable(limits);
    this.#uploads = new Uploads({ limits, clock, limiter: options.uploadLimiter });
    this.#inflow = new Inflow(options.downloadLimiter);
    this.#beat = new ReadBeat(clock);
    this.#greeting = {
      identity,
      encryption,
      record,
      links: this.#linkContext(),
      admit: (peerId) => this.#links.admit(peerId),
      onLink: (link) => this.#onLink(link),
    };
    const attempt: DialAttempt = (peer, { signal }) => dialLink(peer, this.#greeting, { signal });
    this.#dialler = new Dialler({ clock, limits, attempt });
    const { tickMs, lagMs } = limits;
    this.#ticker = new Ticker({ clock, tickMs, lagMs }, (time) => this.#tick(time));
  }

  /**
   * Accepts connections; port 0 takes a free one. Other threads may share the port with `reusePort`. Rejects with
   * ERR_ADDRESS_IN_USE, or ERR_LINK when the address is not one of this machine.
   */
  async listen(address: ListenAddress): Promise<{ port: number }> {
    const { identity, encryption, log } = this.#options;
    const { handshakeMs } = this.#limits;
    const server = socketServer({ identity, encryption, handshakeMs }, (socket) => {
      acceptLink(socket, this.#greeting).catch((error: unknown) => this.#onStranger(error));
    });
    server.on('connection', (socket) => this.#onConnection(socket));
    const port = await this.#bind(server, address);
    this.#servers.push(server);
    server.on('error', (error) => {
      log.warn({ code: systemCode(error) }, 'a connection could not be accepted');
    });
    return { port };
  }

  /**
   * A link to the peer: one that was dialled here, a new one, dialled once however many ask, or, where the peer cannot
   * be dialled, one that it has dialled. Rejects with ERR_LINK, ERR_NOT_MEMBER (either side refuses the other), ERR_BUSY,
   * ERR_PROTOCOL, or the abort.
   */
  async connect(
    peer: PeerAddresses,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<Link> {
    const { signal } = options;
    if (signal?.aborted === true) throw CodedError.from(signal.reason);
    if (this.#isClosed) throw new CodedError('ERR_LINK', 'the endpoint is closed');
    if (peer.peerId === this.#options.identity.peerId) {
      throw new CodedError('ERR_LINK', 'the peer is this host');
    }
    const link = this.#links.find(peer.peerId);
    if (link === undefined) return this.#dialler.dial(peer, { signal });
    if (link.side === 'dialler' || link.isOnlyWay) return link;
    return this.#dialBeside(link, peer, signal);
  }

  /** The links that are open. */
  links(): Link[] {
    return [...this.#links.all()];
  }

  /** Tells those who opened the task here that they may ask for these pieces; or only the peer `to`, that it should. */
  announce(
    about: TaskVersion & { readonly pieces: readonly number[]; readonly to?: string | undefined },
  ): void {
    this.#served.announce(about, about.to === undefined ? 'have' : 'offer');
  }

  /** Tells those who opened the task here that these pieces are no longer served. */
  retract(about: TaskVersion & { readonly pieces: readonly number[] }): void {
    this.#options.compression?.forget(keyOf(about), about.pieces);
    this.#served.announce(about, 'unhave');
  }

  /** Passes manifest batches to those who opened the task here. */
  offerManifest(about: TaskVersion & { readonly batches: readonly string[] }): void {
    this.#served.offer(about, about.batches);
  }

  /** Closes the channels that others have on the task here, with ERR_NOT_FOUND. */
  withdraw(about: TaskVersion): void {
    this.#options.compression?.forget(keyOf(about));
    this.#served.withdraw(about);
  }

  /** Looks again at the records and tickets of all links; for when what is trusted has changed. */
  recheck(): void {
    this.#sinceRecheckMs = 0;
    for (const link of this.#links.all()) link.recheck();
  }

  stats(): LinkStats {
    let channels = 0;
    let queuedBytes = 0;
    let receivedBytes = this.#receivedBefore;
    for (const link of this.#links.all()) {
      receivedBytes += link.receivedBytes;
      channels += link.channelCount;
      queuedBytes += link.queuedBytes;
    }
    return {
      bytesIn: this.#bytesIn,
      bytesOut: this.#uploads.bytesOut,
      receivedBytes,
      duplicateBytes: this.#duplicateBytes,
      links: this.#links.size,
      unauthenticated: this.#countStrangers(),
      channels,
      queuedBytes,
      queuedRequests: this.#uploads.queued,
      activeUploads: this.#uploads.active,
      refused: this.#refused,
    };
  }

  /** Says goodbye on every link and returns when the sockets are closed; twice is fine. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#dialler.close();
    const error = new CodedError('ERR_LINK', 'the host is stopping');
    for (const link of this.#links.all()) link.close(error);
    const closed = this.#servers.splice(0).map(async (server) => {
      const isClosed = Promise.withResolvers<void>();
      server.close(() => isClosed.resolve());
      await isClosed.promise;
    });
    await Promise.all([...this.#lingering].map(async (link) => link.gone));
    for (const socket of this.#inbound) socket.destroy();
    await Promise.all(closed);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * What is fetched over a link of one's own costs less (`LinkSocket`), and requests are not behind what is sent on it.
   * `link`, which the peer has dialled, will do where it cannot be dialled itself.
   */
  async #dialBeside(link: Link, peer: PeerAddresses, signal?: AbortSignal): Promise<Link> {
    using deadline = this.#options.clock.deadline(this.#limits.dialBesideMs, { signal });
    try {
      return await this.#dialler.dial(peer, { signal: deadline.signal });
    } catch (error) {
      if (link.isClosed || signal?.aborted === true) throw error;
      link.isOnlyWay = true;
      return link;
    }
  }

  #linkContext(): LinkContext {
    const { clock, log, trust, findTask, compression, events = {} } = this.#options;
    return {
      limits: this.#limits,
      clock,
      log,
      trust,
      findTask,
      compression,
      uploads: this.#uploads,
      inflow: this.#inflow,
      beat: this.#beat,
      onClosed: (link, error) => this.#onLinkClosed(link, error),
      onServed: (channel) => this.#served.add(channel),
      onUnserved: (channel) => this.#served.remove(channel),
      onRefused: () => (this.#refused += 1),
      onBytesIn: (bytes) => (this.#bytesIn += bytes),
      onLateBytes: (late) => {
        this.#duplicateBytes += late.bytes;
        events.onLateBytes?.(late);
      },
      onSent: (sent) => events.onSent?.(sent),
      onOffered: (offered) => events.onOffered?.(offered),
    };
  }

  #onConnection(socket: Socket): void {
    this.#inbound.add(socket);
    socket.once('close', () => this.#inbound.delete(socket));
    const { maxUnauthenticated } = this.#limits;
    if (!this.#isClosed && this.#countStrangers() <= maxUnauthenticated) return;
    this.#refused += 1;
    socket.destroy();
  }

  #onStranger(error: unknown): void {
    this.#refused += 1;
    const { code, message: reason, detail } = CodedError.from(error);
    this.#options.log.debug({ ...detail, code, reason }, 'link refused');
  }

  #onLink(link: Link): void {
    this.#links.add(link);
    this.#lingering.add(link);
    void link.gone.then(() => this.#lingering.delete(link));
    this.#ticker.start();
    this.#options.events?.onLinkOpened?.(link);
    // A dial may end after close() has said goodbye to the others.
    if (this.#isClosed) link.close();
  }

  #onLinkClosed(link: Link, error: CodedError): void {
    this.#links.remove(link);
    this.#receivedBefore += link.receivedBytes;
    if (this.#links.size === 0) {
      this.#ticker.stop();
      this.#options.compression?.rest();
    }
    this.#options.events?.onLinkClosed?.(link, error);
  }

  #countStrangers(): number {
    const members = this.#lingering.values().filter(({ side }) => side === 'listener');
    return this.#inbound.size - [...members].length;
  }

  #tick(time: TickTime): void {
    const links = [...this.#links.all()];
    const owing = links.reduce((sum, { isAnswerDue }) => sum + Number(isAnswerDue), 0);
    const patienceMs = this.#line.patienceMs(this.#limits.silentMs, owing);
    let came = 0;
    for (const link of links) came += link.tick(time, patienceMs);
    if (owing > 0) this.#line.tick(came, time.elapsedMs);
    this.#uploads.tick(time.countedMs);
    this.#inflow.tick();
    this.#sinceRecheckMs += time.elapsedMs;
    if (this.#sinceRecheckMs >= this.#limits.recheckMs) this.recheck();
  }

  async #bind(server: Server, address: ListenAddress): Promise<number> {
    const { host, port, reusePort = false } = address;
    try {
      server.listen({ host, port, reusePort });
      await once(server, 'listening');
    } catch (error) {
      throw listenError(error, address);
    }
    const bound = server.address();
    return bound === null || typeof bound === 'string' ? port : bound.port;
  }
}

function listenError(cause: unknown, { host, port }: ListenAddress): CodedError {
  const reason = systemCode(cause) ?? 'unknown';
  const options = { cause, detail: { host, port, reason } };
  return reason === 'EADDRINUSE'
    ? new CodedError('ERR_ADDRESS_IN_USE', `port ${port} of ${host} is taken`, options)
    : new CodedError('ERR_LINK', `cannot listen on port ${port} of ${host}`, options);
}
