import { connect, isIP } from 'node:net';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { HostPort } from '../../core/base/addresses.ts';
import { parseHostPort } from '../../core/base/addresses.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError, systemCode } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { guardedLookup, lookupBySystem } from '../../core/net/guarded-lookup.ts';
import type { AdmittedUser, ProxyAccess } from './access.ts';
import type { ForwardCounts } from './forward-counts.ts';
import type { TunnelHandler } from './proxy-server.ts';

const CONNECT_TIMEOUT_MS = 10_000;
/** Without a byte in either direction. */
const IDLE_MS = 600_000;
/** The same once one side has said all it had to say. */
const HALF_OPEN_MS = 60_000;

/** A connection that asked for a tunnel, and the bytes that came with the request. */
export interface TunnelClient {
  readonly socket: Socket;
  readonly head: Buffer;
}

/** Reads TLS inside tunnels to some hosts; `intercept.ts` makes one. */
export interface TunnelInterceptor {
  /** True for hosts whose tunnels are opened. */
  covers(host: string): boolean;
  open(client: TunnelClient, target: HostPort & { readonly user: AdmittedUser }): Promise<void>;
}

/** How tunnels are made. */
export interface TunnelsOptions {
  readonly access: ProxyAccess;
  /** Ports that may be connected to. */
  readonly ports: readonly number[];
  readonly interceptor?: TunnelInterceptor | undefined;
  readonly counts: ForwardCounts;
  readonly clock: Clock;
  readonly log: Log;
}

/** CONNECT: bytes passed on in both directions, unread. */
export class Tunnels implements TunnelHandler {
  readonly #options: TunnelsOptions;
  readonly #open = new Set<Socket>();

  constructor(options: TunnelsOptions) {
    this.#options = options;
  }

  get active(): number {
    return this.#open.size;
  }

  /** Throws ERR_REQUEST, ERR_FORBIDDEN, ERR_ORIGIN_FORBIDDEN, ERR_ORIGIN_UNREACHABLE before the client is answered. */
  async open(
    client: TunnelClient,
    target: { readonly authority: string; readonly user: AdmittedUser },
  ): Promise<void> {
    // From here on, so that closing ends it while it still connects.
    this.#open.add(client.socket);
    try {
      const hostPort = this.#allowed(target.authority);
      const { interceptor } = this.#options;
      const opened = { ...hostPort, user: target.user };
      if (interceptor?.covers(hostPort.host) === true) await interceptor.open(client, opened);
      else await this.#pass(client, opened);
    } catch (error) {
      this.#options.counts.add('failed');
      throw error;
    } finally {
      this.#open.delete(client.socket);
    }
  }

  close(): void {
    for (const socket of this.#open) socket.resetAndDestroy();
  }

  #allowed(authority: string): HostPort {
    const hostPort = parseHostPort(authority);
    if (hostPort === undefined) {
      throw new CodedError('ERR_REQUEST', 'CONNECT: expected HOST:PORT');
    }
    const { port } = hostPort;
    if (this.#options.ports.includes(port)) return hostPort;
    const message = `no tunnels to port ${port} (--proxy-connect-port)`;
    throw new CodedError('ERR_FORBIDDEN', message, { detail: { port } });
  }

  async #pass(client: TunnelClient, target: HostPort & { user: AdmittedUser }): Promise<void> {
    const { socket, head } = client;
    const { clock, access, counts, log } = this.#options;
    const check = access.checkFor(target.user);
    const upstream = await connectGuarded(target, { clock, check, client: socket });
    if (head.length > 0) socket.unshift(head);
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
    counts.add('tunnel');
    endWhenIdle(socket, upstream);
    breakTogether(socket, upstream);
    try {
      await Promise.all([pipeline(socket, upstream), pipeline(upstream, socket)]);
    } catch (error) {
      log.debug({ code: systemCode(error) ?? 'ended' }, 'a tunnel broke');
    }
  }
}

/** Connects to one of the addresses that the check lets pass; throws ERR_ORIGIN_UNREACHABLE or ERR_ORIGIN_FORBIDDEN. */
export async function connectGuarded(
  target: HostPort,
  options: {
    readonly clock: Clock;
    readonly check: (ip: string, port: number) => void;
    /** Given up when this one goes away. */
    readonly client: Socket;
  },
): Promise<Socket> {
  const { host, port } = target;
  const check = (ip: string): void => options.check(ip, port);
  // An address is connected to without any lookup.
  if (isIP(host) !== 0) check(host);
  const lookup = guardedLookup(lookupBySystem, check);
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({ host, port, lookup, allowHalfOpen: true, noDelay: true });
  const giveUp = (): void => reject(unreachable(target, 'the client went away'));
  const timer = options.clock.after(CONNECT_TIMEOUT_MS, () => {
    reject(unreachable(target, `no connection within ${CONNECT_TIMEOUT_MS / 1000} s`));
  });
  options.client.once('close', giveUp);
  socket.once('connect', () => resolve(socket));
  // Stays: later failures are seen by whoever reads it.
  socket.on('error', (error) => {
    reject(error instanceof CodedError ? error : unreachable(target, reasonOf(error), error));
  });
  try {
    return await promise;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    timer.cancel();
    options.client.off('close', giveUp);
  }
}

/** Before they are joined: streams would end the other side as if all had been said. */
function breakTogether(client: Socket, upstream: Socket): void {
  client.once('error', () => upstream.resetAndDestroy());
  upstream.once('error', () => client.resetAndDestroy());
}

function endWhenIdle(client: Socket, upstream: Socket): void {
  const end = (): void => {
    client.destroy();
    upstream.destroy();
  };
  for (const socket of [client, upstream]) {
    socket.setTimeout(IDLE_MS, end);
    socket.once('end', () => {
      client.setTimeout(HALF_OPEN_MS);
      upstream.setTimeout(HALF_OPEN_MS);
    });
  }
}

function unreachable({ host, port }: HostPort, reason: string, cause?: unknown): CodedError {
  const message = `${host.slice(0, 200)} port ${port}: ${reason}`;
  return new CodedError('ERR_ORIGIN_UNREACHABLE', message, { cause });
}

function reasonOf(error: unknown): string {
  return systemCode(error) ?? 'cannot be connected to';
}
