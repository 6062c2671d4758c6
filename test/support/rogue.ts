// A member of a cell in the hands of a test: its key, record and connections are real, and it keeps to the protocols
// only as far as the test wants it to.
import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { SystemRandom } from '../../core/base/random.ts';
import { peerIdOfCertificate, selfSignedCertificate } from '../../core/identity/certificate.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { parseToken } from '../../core/identity/join-token.ts';
import { verifySignature } from '../../core/identity/peer-id.ts';
import { encodeFrame, frameTypes } from '../../core/net/link/frame.ts';
import type { FrameFields, FrameHeader } from '../../core/net/link/frame.ts';
import { FrameReader } from '../../core/net/link/frame-reader.ts';
import { Handshake } from '../../core/net/link/handshake.ts';
import type { LinkIdentity } from '../../core/net/link/link-identity.ts';
import { remoteCertificate } from '../../core/net/link/link-socket.ts';
import { Receiver } from '../../core/net/link/receiver.ts';
import { MeshNode } from '../../core/net/mesh/mesh-node.ts';
import type { MeshSession } from '../../core/net/mesh/mesh-node.ts';
import { joinCell } from '../../core/swarm/join-cell.ts';
import { protocols } from '../../core/wire/messages.ts';
import type { Hello, Membership } from '../../core/wire/messages.ts';

const clock = new SystemClock();
const forever = new AbortController().signal;
const PATIENCE_MS = 60_000;

/** The first answer of `look` that is not undefined; fails, naming `what`, when there is none in time. */
export async function waitFor<T>(what: string, look: () => T | undefined): Promise<T> {
  const endMs = clock.monotonic() + PATIENCE_MS;
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    if (clock.monotonic() > endMs) throw new Error(`never came: ${what}`);
    await clock.sleep(5);
  }
}

/** What was heard on one control session, and what the test says on it. */
export class Conversation {
  readonly heard: Record<string, unknown>[] = [];
  readonly session: MeshSession;
  isOver = false;

  constructor(session: MeshSession) {
    this.session = session;
    void this.#listen();
  }

  say(message: object): void {
    this.session.send(message);
  }

  /** The next message of a type, taken out of what was heard; undefined when the session ends without one. */
  async next(type: string): Promise<Record<string, unknown> | undefined> {
    const found = await waitFor(`a message of type ${type}`, () => {
      const place = this.heard.findIndex((message) => message['type'] === type);
      if (place >= 0) return { message: this.heard.splice(place, 1)[0] };
      return this.isOver ? { message: undefined } : undefined;
    });
    return found.message;
  }

  /** True once the supernode has taken in what was said before, and still speaks with us. */
  async synced(): Promise<boolean> {
    this.say({ type: 'sync', id: 4_000_000 });
    return (await this.next('synced')) !== undefined;
  }

  async #listen(): Promise<void> {
    try {
      for await (const message of this.session.receive()) {
        this.heard.push(message as Record<string, unknown>);
      }
    } catch {
      // How it ended is in `session.closed`.
    }
    this.isOver = true;
  }
}

/** A host that does what a test says. */
export class Rogue implements AsyncDisposable {
  readonly key: HostKey;
  readonly mesh: MeshNode;
  readonly identity: LinkIdentity;
  membership: Membership | undefined;
  readonly #stack = new AsyncDisposableStack();

  private constructor(key: HostKey, mesh: MeshNode) {
    this.key = key;
    this.mesh = this.#stack.use(mesh);
    const pems = selfSignedCertificate(key, { now: clock.now() });
    this.identity = { peerId: key.peerId, ...pems, sign: (bytes) => key.sign(bytes) };
  }

  static async start(key = HostKey.generate()): Promise<Rogue> {
    const mesh = await MeshNode.start({
      privateKeyProtobuf: key.libp2pPrivateKey(),
      clock,
      random: new SystemRandom(),
      log: silentLog,
    });
    return new Rogue(key, mesh);
  }

  /** One that has joined with a token of role host. */
  static async member(cell: {
    readonly authority: {
      createToken(options: { ttlMs: number; role: 'host' }): Promise<string>;
    };
    readonly meshPort: number;
  }): Promise<Rogue> {
    const rogue = await Rogue.start();
    const token = await cell.authority.createToken({ ttlMs: 3_600_000, role: 'host' });
    await rogue.join(`127.0.0.1:${cell.meshPort}`, token);
    return rogue;
  }

  get peerId(): string {
    return this.key.peerId;
  }

  get record(): string {
    return this.membership?.record ?? '';
  }

  async join(
    address: string,
    token: string,
    wants: { readonly role?: 'host' | 'seed'; readonly idc?: string } = {},
  ): Promise<Membership> {
    const about = { token: parseToken(token), wants, now: clock.now() };
    this.membership = await joinCell(this.mesh, address, { ...about, clock, signal: forever });
    return this.membership;
  }

  /** Opens the control protocol with this hello, honest but for what is given; throws the refusal. */
  async control(address: string, hello: Partial<Hello> = {}): Promise<Conversation> {
    const first = { v: 1, record: this.record, addresses: [], ...hello };
    const session = await this.mesh.dial(address, protocols.control, {
      hello: first,
      signal: forever,
    });
    return new Conversation(session);
  }

  /** Dials a piece link; `record` is shown in place of the own one. */
  async link(port: number, options: { readonly record?: string } = {}): Promise<RogueLink> {
    const { keyPem: key, certificatePem: cert } = this.identity;
    const address = { host: '127.0.0.1', port };
    const socket = connectTls({ ...address, key, cert, rejectUnauthorized: false });
    const link = new RogueLink(socket, this.identity, options.record ?? this.record);
    this.#stack.use(link);
    await Promise.race([once(socket, 'secureConnect'), link.closed]);
    if (!socket.destroyed) link.authenticate('dialler');
    await waitFor('the end of a handshake', () => link.isReady || link.isClosed || undefined);
    return link;
  }

  /** Listens for piece links, which answer as `onLink` has them do; `isMute` says nothing even of itself. */
  async listen(
    onLink: (link: RogueLink) => void,
    options: { readonly isMute?: boolean } = {},
  ): Promise<{ readonly port: number; readonly links: readonly RogueLink[] }> {
    const links: RogueLink[] = [];
    const { keyPem: key, certificatePem: cert } = this.identity;
    const server: Server = createTlsServer(
      { key, cert, requestCert: true, rejectUnauthorized: false },
      (socket) => {
        const link = this.#stack.use(new RogueLink(socket, this.identity, this.record));
        links.push(link);
        onLink(link);
        if (options.isMute === true) socket.resume();
        else link.authenticate('listener');
      },
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    this.#stack.defer(async () => {
      for (const { socket } of links) socket.destroy();
      const closed = once(server, 'close');
      server.close();
      await closed;
    });
    return { port: (server.address() as AddressInfo).port, links };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** A frame as it came; the payload is a copy. */
export interface RogueFrame {
  readonly header: FrameHeader;
  readonly payload: Buffer;
}

/** One piece link of a rogue, frame by frame. */
export class RogueLink implements Disposable {
  readonly socket: Socket;
  readonly closed: Promise<unknown>;
  readonly frames: RogueFrame[] = [];
  isReady = false;
  isClosed = false;
  /** What the other side said when it left. */
  goodbye: string | undefined;
  /** Answers each frame instead of it being kept. */
  answer: ((frame: RogueFrame) => void) | undefined;
  readonly #identity: LinkIdentity;
  readonly #record: string;

  constructor(socket: Socket, identity: LinkIdentity, record: string) {
    this.socket = socket;
    this.#identity = identity;
    this.#record = record;
    this.closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined);
    socket.on('close', () => (this.isClosed = true));
  }

  authenticate(side: 'dialler' | 'listener'): void {
    const certificate = remoteCertificate(this.socket);
    const handshake = new Handshake({
      side,
      encryption: 'tls',
      identity: this.#identity,
      // Believes everybody: what is tested is whom the others believe.
      trust: {
        peerIdOfCertificate,
        verifySignature,
        verifyMember: () => undefined,
        verifyTicket: () => undefined,
      },
      record: this.#record,
      certified: certificate && peerIdOfCertificate(certificate),
      send: (frame) => this.socket.write(frame),
      admit: () => undefined,
      onDone: () => {
        this.isReady = true;
        reader.handler = this;
      },
    });
    const reader = new FrameReader(handshake);
    const receiver = new Receiver(reader, (error) => this.#failed(error));
    this.socket.on('data', (chunk: Buffer) => receiver.feed(chunk));
    try {
      handshake.start();
    } catch (error) {
      this.#failed(error);
    }
  }

  send(fields: FrameFields, payload?: Uint8Array | string): void {
    this.socket.write(encodeFrame(fields, payload));
  }

  /** Asks to open a task. */
  open(about: {
    readonly task: string;
    readonly version: string;
    readonly ticket: string;
    readonly channel?: number;
  }): void {
    const { channel = 1, ...rest } = about;
    this.send({ type: frameTypes.open, channel }, JSON.stringify(rest));
  }

  /** The next frame of one of these types, taken out; undefined when the link closes without one. */
  async next(...types: readonly number[]): Promise<RogueFrame | undefined> {
    const found = await waitFor(`a frame of type ${types.join(' or ')}`, () => {
      const place = this.frames.findIndex(({ header }) => types.includes(header.type));
      if (place >= 0) return { frame: this.frames.splice(place, 1)[0] };
      return this.isClosed ? { frame: undefined } : undefined;
    });
    return found.frame;
  }

  onFrame(header: FrameHeader, payload: Uint8Array): void {
    const frame = { header, payload: Buffer.from(payload) };
    if (header.type === frameTypes.goodbye) this.goodbye = frame.payload.toString();
    if (header.type === frameTypes.ping) this.send({ type: frameTypes.pong, a: header.a });
    else if (this.answer === undefined) this.frames.push(frame);
    else this.answer(frame);
  }

  onData(header: FrameHeader, _at: number, part: Uint8Array): void {
    this.frames.push({ header, payload: Buffer.from(part) });
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  #failed(error: unknown): void {
    this.goodbye ??= CodedError.from(error).detail['remoteCode']?.toString();
    this.socket.destroy();
  }
}
