// What tests of the piece link share: hosts with real keys and certificates on loopback, content to serve, sinks to
// fetch into, and a peer driven by hand, frame by frame, that need not keep to the protocol.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp, createServer as createTcpServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import type { Log } from '../../core/base/log.ts';
import { peerIdOfCertificate, selfSignedCertificate } from '../../core/identity/certificate.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { verifySignature } from '../../core/identity/peer-id.ts';
import { LinkEndpoint } from '../../core/net/link/endpoint.ts';
import type { LinkEndpointOptions } from '../../core/net/link/endpoint.ts';
import { encodeFrame } from '../../core/net/link/frame.ts';
import type { FrameFields, FrameHeader } from '../../core/net/link/frame.ts';
import { FrameReader } from '../../core/net/link/frame-reader.ts';
import { Handshake } from '../../core/net/link/handshake.ts';
import type { LinkIdentity, LinkTrust } from '../../core/net/link/link-identity.ts';
import { remoteCertificate } from '../../core/net/link/link-socket.ts';
import type { PieceSink } from '../../core/net/link/piece-fetch.ts';
import { Receiver } from '../../core/net/link/receiver.ts';
import type { ServedTask } from '../../core/net/link/served-task.ts';
import { Bitfield } from '../../core/piece/bitfield.ts';
import { until } from './until.ts';

export const task = 'a'.repeat(64);
export const version = 'b'.repeat(16);

/** A new key and its certificate. */
export function newIdentity(): LinkIdentity {
  const key = HostKey.generate();
  const pems = selfSignedCertificate(key, { now: new SystemClock().now() });
  return { peerId: key.peerId, ...pems, sign: (bytes) => key.sign(bytes) };
}

export function recordOf(peerId: string): string {
  return `record.${peerId}`;
}

/** The ticket that `TestTrust` accepts. */
export function ticketFor(child: string, about = { task, version }): string {
  return `ticket.${child}.${about.task}.${about.version}`;
}

/** Real keys, and statements that are true when they name the right things. */
export class TestTrust implements LinkTrust {
  readonly peerIdOfCertificate = peerIdOfCertificate;
  readonly verifySignature = verifySignature;
  /** Peers that are members no longer. */
  readonly revoked = new Set<string>();
  /** Tickets that have expired. */
  readonly expired = new Set<string>();

  verifyMember(record: string, peerId: string): void {
    if (record === recordOf(peerId) && !this.revoked.has(peerId)) return;
    throw new CodedError('ERR_SIGNATURE', 'the record is of another peer');
  }

  verifyTicket(ticket: string, about: { child: string; task: string; version: string }): void {
    if (ticket === ticketFor(about.child, about) && !this.expired.has(ticket)) return;
    throw new CodedError('ERR_SIGNATURE', 'the ticket is for something else');
  }
}

/** A task in memory. */
export class MemoryTask implements ServedTask {
  readonly content: Buffer;
  readonly pieceLength: number;
  readonly pieces: Bitfield;
  readonly batches: string[] = [];
  isLengthKnown = true;

  /** All pieces are had unless `isEmpty`. */
  constructor(content: Buffer, pieceLength: number, options: { isEmpty?: boolean } = {}) {
    this.content = content;
    this.pieceLength = pieceLength;
    this.pieces = Bitfield.shared(Math.ceil(content.length / pieceLength));
    if (options.isEmpty === true) return;
    for (let piece = 0; piece < this.pieces.length; piece += 1) this.pieces.set(piece);
  }

  lengthOf(piece: number): number {
    return Math.min(this.pieceLength, this.content.length - piece * this.pieceLength);
  }

  has(piece: number): boolean {
    return this.pieces.has(piece);
  }

  haveMap(): Uint8Array {
    return this.pieces.bytes;
  }

  pieceCount(): number | undefined {
    return this.isLengthKnown ? this.pieces.length : undefined;
  }

  read(piece: number, offset: number, target: Uint8Array): number {
    const start = piece * this.pieceLength + offset;
    target.set(this.content.subarray(start, start + target.length));
    return target.length;
  }

  manifest(): readonly string[] {
    return this.batches;
  }

  pieceOf(piece: number): Buffer {
    return this.content.subarray(piece * this.pieceLength, (piece + 1) * this.pieceLength);
  }
}

/** Bytes that repeat at no piece boundary. */
export function contentOf(bytes: number): Buffer {
  const block = createHash('sha512').update(String(bytes)).digest();
  const filled = Buffer.alloc(bytes, block);
  for (let at = 0; at < bytes; at += 4096) filled.writeUInt32BE(at, Math.min(at, bytes - 4));
  return filled;
}

/** Keeps what it is given, and how it ended. */
export class MemorySink implements PieceSink {
  readonly bytes: Buffer;
  written = 0;
  finished = 0;
  aborted = 0;

  constructor(length: number) {
    this.bytes = Buffer.alloc(length);
  }

  write(offset: number, chunk: Uint8Array): void {
    this.bytes.set(chunk, offset);
    this.written += chunk.length;
  }

  finish(): void {
    this.finished += 1;
  }

  abort(): void {
    this.aborted += 1;
  }
}

/** An endpoint that listens on a free port of loopback, and what it is made of. */
export interface TestHost extends AsyncDisposable {
  readonly peerId: string;
  readonly identity: LinkIdentity;
  readonly trust: TestTrust;
  readonly endpoint: LinkEndpoint;
  readonly tasks: Map<string, ServedTask>;
  readonly port: number;
  /** What others dial. */
  readonly peer: { readonly peerId: string; readonly addresses: readonly string[] };
}

/** Serves what is put in `tasks` under `task` ids in `version`. */
export async function startHost(options: Partial<LinkEndpointOptions> = {}): Promise<TestHost> {
  const identity = options.identity ?? newIdentity();
  const trust = new TestTrust();
  const tasks = new Map<string, ServedTask>();
  const endpoint = new LinkEndpoint({
    identity,
    trust,
    record: () => recordOf(identity.peerId),
    encryption: 'tls',
    findTask: (id, wanted) => (wanted === version ? tasks.get(id) : undefined),
    clock: new SystemClock(),
    log: silentLog,
    ...options,
  });
  const { port } = await endpoint.listen({ host: '127.0.0.1', port: 0 });
  const { peerId } = identity;
  const peer = { peerId, addresses: [`127.0.0.1:${port}`] };
  const dispose = async (): Promise<void> => endpoint.close();
  return { peerId, identity, trust, endpoint, tasks, port, peer, [Symbol.asyncDispose]: dispose };
}

type Encryption = 'tls' | 'none';

/** A peer in the hands of a test: it authenticates like any other, and then sends what it is told. */
export class HandMadePeer implements Disposable {
  readonly identity: LinkIdentity;
  readonly socket: Socket;
  /** Frames that came after the handshake; payloads are copies. */
  readonly frames: { header: FrameHeader; payload: Buffer }[] = [];
  isReady = false;
  isClosed = false;

  constructor(identity: LinkIdentity, socket: Socket) {
    this.identity = identity;
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('close', () => (this.isClosed = true));
  }

  /** Connects to a host and, unless `isMute`, authenticates. */
  static async connect(
    port: number,
    options: { identity?: LinkIdentity; encryption?: Encryption; isMute?: boolean } = {},
  ): Promise<HandMadePeer> {
    const { identity = newIdentity(), encryption = 'tls', isMute = false } = options;
    const socket = connectRaw(port, identity, encryption);
    const peer = new HandMadePeer(identity, socket);
    await once(socket, encryption === 'tls' ? 'secureConnect' : 'connect');
    if (!isMute) await peer.authenticate('dialler', encryption);
    return peer;
  }

  async authenticate(side: 'dialler' | 'listener', encryption: Encryption): Promise<void> {
    const trust = new TestTrust();
    const certificate = remoteCertificate(this.socket);
    const handshake = new Handshake({
      side,
      encryption,
      identity: this.identity,
      trust,
      record: recordOf(this.identity.peerId),
      certified: certificate && trust.peerIdOfCertificate(certificate),
      send: (frame) => this.socket.write(frame),
      admit: () => undefined,
      onDone: () => {
        this.isReady = true;
        reader.handler = this;
      },
    });
    const reader = new FrameReader(handshake);
    const receiver = new Receiver(reader, (error) => this.socket.destroy(CodedError.from(error)));
    this.socket.on('data', (chunk: Buffer) => receiver.feed(chunk));
    handshake.start();
    await until(() => this.isReady || this.isClosed);
  }

  onFrame(header: FrameHeader, payload: Uint8Array): void {
    this.frames.push({ header, payload: Buffer.from(payload) });
  }

  onData(header: FrameHeader, _at: number, part: Uint8Array): void {
    this.frames.push({ header, payload: Buffer.from(part) });
  }

  send(fields: FrameFields, payload?: Uint8Array | string): void {
    this.socket.write(encodeFrame(fields, payload));
  }

  /** The next frame of a type, which is removed from `frames`. */
  async next(type: number): Promise<{ header: FrameHeader; payload: Buffer }> {
    await until(() => this.isClosed || this.frames.some(({ header }) => header.type === type));
    const place = this.frames.findIndex(({ header }) => header.type === type);
    const [frame] = place < 0 ? [] : this.frames.splice(place, 1);
    if (frame === undefined) throw new Error(`the link closed before a frame of type ${type}`);
    return frame;
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

/** A server whose links are in the hands of a test. */
export class HandMadeServer implements AsyncDisposable {
  readonly identity: LinkIdentity;
  readonly server: Server;
  readonly peers: HandMadePeer[] = [];

  constructor(identity: LinkIdentity, server: Server) {
    this.identity = identity;
    this.server = server;
  }

  static async listen(encryption: Encryption = 'tls', isMute = false): Promise<HandMadeServer> {
    const identity = newIdentity();
    const accept = (socket: Socket): void => {
      const peer = new HandMadePeer(identity, socket);
      if (!isMute) void peer.authenticate('listener', encryption);
      else socket.resume();
      made.peers.push(peer);
    };
    const { keyPem: key, certificatePem: cert } = identity;
    const secure = { key, cert, requestCert: true, rejectUnauthorized: false };
    const server = encryption === 'tls' ? createTlsServer(secure, accept) : createTcpServer(accept);
    const made = new HandMadeServer(identity, server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return made;
  }

  get peer(): { peerId: string; addresses: string[] } {
    const { port } = this.server.address() as AddressInfo;
    return { peerId: this.identity.peerId, addresses: [`127.0.0.1:${port}`] };
  }

  /** The first peer that connected. */
  async first(): Promise<HandMadePeer> {
    await until(() => this.peers[0]?.isReady === true);
    return this.peers[0] as HandMadePeer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of this.peers) socket.destroy();
    const isClosed = once(this.server, 'close');
    this.server.close();
    await isClosed;
  }
}

function connectRaw(port: number, identity: LinkIdentity, encryption: Encryption): Socket {
  const address = { host: '127.0.0.1', port };
  if (encryption === 'none') return connectTcp(address);
  const { keyPem: key, certificatePem: cert } = identity;
  return connectTls({ ...address, key, cert, rejectUnauthorized: false });
}

/** A log that keeps what it is told. */
export class MemoryLog implements Log {
  readonly lines: { level: string; facts: Record<string, unknown>; message: string }[] = [];

  error(facts: object, message: string): void {
    this.#keep('error', facts, message);
  }

  warn(facts: object, message: string): void {
    this.#keep('warn', facts, message);
  }

  info(facts: object, message: string): void {
    this.#keep('info', facts, message);
  }

  debug(facts: object, message: string): void {
    this.#keep('debug', facts, message);
  }

  child(): Log {
    return this;
  }

  #keep(level: string, facts: object, message: string): void {
    this.lines.push({ level, facts: { ...facts }, message });
  }
}
