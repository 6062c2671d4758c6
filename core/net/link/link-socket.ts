// Sockets of a link: how they are dialled and accepted, and the one way of writing to them. Measured on Node 24: a
// dialled socket can read into our own buffer (`onread`), an accepted one cannot, so its chunks come as 'data' events.
import type { X509Certificate } from 'node:crypto';
import { connect as connectTcp, createServer as createTcpServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { TLSSocket, connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { formatHostPort } from '../../base/addresses.ts';
import type { HostPort } from '../../base/addresses.ts';
import type { Clock } from '../../base/clock.ts';
import type { LinkIdentity } from './link-identity.ts';
import type { LinkLimits } from './limits.ts';
import type { Receiver } from './receiver.ts';

/** How links are protected on the wire. */
export type LinkEncryption = 'tls' | 'none';

/** What TLS is set to at both ends: 1.3, ed25519 certificates, and no authority but the pin. */
function tlsOptions(identity: LinkIdentity): {
  key: string;
  cert: string;
  minVersion: 'TLSv1.3';
  ciphers: string;
  ecdhCurve: string;
  sigalgs: string;
  rejectUnauthorized: false;
} {
  return {
    key: identity.keyPem,
    cert: identity.certificatePem,
    minVersion: 'TLSv1.3',
    // AES-128 first: it is the cheapest where there is hardware for it, and we own both ends.
    ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
    ecdhCurve: 'X25519',
    sigalgs: 'ed25519',
    rejectUnauthorized: false,
  };
}

/** Begins a connection; `onConnected` is called once it is encrypted, if it is to be. */
export function dialSocket(
  address: HostPort,
  options: { identity: LinkIdentity; encryption: LinkEncryption; receiver: Receiver },
  onConnected: () => void,
): Socket {
  const { identity, encryption, receiver } = options;
  const connection = {
    host: address.host,
    port: address.port,
    noDelay: true,
    keepAlive: true,
    onread: {
      buffer: () => receiver.room(),
      callback: (bytes: number) => {
        receiver.filled(bytes);
        return true;
      },
    },
  };
  if (encryption === 'none') return connectTcp(connection, onConnected);
  const secure = { ...connection, ...tlsOptions(identity), checkServerIdentity: () => undefined };
  return connectTls(secure, onConnected);
}

/** A server that hands over connected, encrypted sockets. Their bytes must be fed to a receiver at once. */
export function socketServer(
  options: { identity: LinkIdentity; encryption: LinkEncryption; handshakeMs: number },
  onSocket: (socket: Socket) => void,
): Server {
  const { identity, encryption, handshakeMs } = options;
  const tcp = { noDelay: true, keepAlive: true };
  if (encryption === 'none') return createTcpServer(tcp, onSocket);
  const secure = { ...tcp, ...tlsOptions(identity), requestCert: true };
  const server = createTlsServer({ ...secure, handshakeTimeout: handshakeMs }, onSocket);
  // Node reports a handshake that takes too long and leaves the socket open.
  return server.on('tlsClientError', (_error, socket) => socket.destroy());
}

/** The certificate that the other side proved to hold the key of. */
export function remoteCertificate(socket: Socket): X509Certificate | undefined {
  return socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
}

/** The writing side of a link's connection. */
export class LinkSocket {
  /** Of the other end, for logs and people. */
  readonly address: string;
  /** Resolves when the socket is closed. */
  readonly gone: Promise<void>;
  readonly #socket: Socket;
  readonly #limits: LinkLimits;
  readonly #clock: Clock;
  #blockBytes = 0;
  #isPaused = false;
  #isResting = false;

  constructor(socket: Socket, options: { limits: LinkLimits; clock: Clock }) {
    const { limits, clock } = options;
    const { remoteAddress = 'unknown', remotePort = 0 } = socket;
    this.address = formatHostPort({ host: remoteAddress, port: remotePort });
    this.#socket = socket;
    const gone = Promise.withResolvers<void>();
    socket.once('close', () => gone.resolve());
    this.gone = gone.promise;
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Bytes that wait in this process. */
  get queuedBytes(): number {
    return this.#socket.writableLength;
  }

  /** True while the other side, or the network, is behind. */
  get isDraining(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /** Writes a frame; false when so much waits already that the other side cannot be reading. */
  send(frame: Uint8Array): boolean {
    if (!this.#socket.writable) return true;
    this.#socket.write(frame);
    return this.#socket.writableLength - this.#blockBytes <= this.#limits.maxBacklogBytes;
  }

  /** Writes a block of an upload; its memory is free again when `onFlushed` is called. */
  sendBlock(block: Uint8Array, onFlushed: () => void): void {
    this.#blockBytes += block.length;
    this.#socket.write(block, () => {
      this.#blockBytes -= block.length;
      onFlushed();
    });
  }

  setRecordBytes(bytes: number): void {
    if (this.#socket instanceof TLSSocket) this.#socket.setMaxSendFragment(bytes);
  }

  onDrain(listener: () => void): void {
    this.#socket.on('drain', listener);
  }

  /** Leaves what comes in the kernel, so that the sender is slowed. */
  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (!this.#isResting) this.#socket.resume();
  }

  /** Lets what comes gather in the kernel, until `wake()`. */
  rest(): void {
    this.#isResting = true;
    this.#socket.pause();
  }

  wake(): void {
    this.#isResting = false;
    if (!this.#isPaused) this.#socket.resume();
  }

  /** Writes the last frame and closes: once the other side has, or when it takes too long about it. */
  closeWith(frame: Uint8Array): void {
    if (!this.#socket.writable) {
      this.#socket.destroy();
      return;
    }
    // Cutting at once could destroy the frame on its way, as bytes that we have not read make the kernel reset.
    this.#socket.end(frame);
    const cut = this.#clock.after(this.#limits.lingerMs, () => this.destroy(), { ref: false });
    this.#socket.once('close', () => cut.cancel());
    this.#socket.resume();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
