import type { Socket } from 'node:net';
import type { HostPort } from '../../base/addresses.ts';
import { abortReason } from '../../base/clock.ts';
import type { Timer } from '../../base/clock.ts';
import { CodedError, systemCode } from '../../base/error.ts';
import { FEATURE_ZSTD, encodeFrame, frameTypes, protocolError } from './frame.ts';
import { FrameReader } from './frame-reader.ts';
import { Handshake } from './handshake.ts';
import type { Authenticated } from './handshake.ts';
import { Link } from './link.ts';
import type { LinkContext } from './link.ts';
import type { LinkIdentity } from './link-identity.ts';
import { LinkSocket, dialSocket, remoteCertificate } from './link-socket.ts';
import type { LinkEncryption } from './link-socket.ts';
import { Receiver } from './receiver.ts';

/** What connections of an endpoint need to become links. */
export interface GreetingContext {
  readonly links: LinkContext;
  readonly identity: LinkIdentity;
  readonly encryption: LinkEncryption;
  /** This host's membership record. */
  readonly record: () => string;
  /** Throws when there is no room for another link to the peer. */
  readonly admit: (peerId: string) => void;
  /** The link is ready; called before any of its frames is handled. */
  readonly onLink: (link: Link) => void;
}

/** Connects to `expected` at the address; rejects with ERR_LINK, ERR_NOT_MEMBER, ERR_BUSY, ERR_PROTOCOL or the abort. */
export async function dialLink(
  peer: { readonly address: HostPort; readonly expected: string },
  context: GreetingContext,
  options: { signal: AbortSignal },
): Promise<Link> {
  const { signal } = options;
  if (signal.aborted) throw CodedError.from(signal.reason);
  const greeting = new Greeting('dialler', context, peer.expected);
  const { identity, encryption } = context;
  const { receiver } = greeting;
  const socket = dialSocket(peer.address, { identity, encryption, receiver }, () =>
    greeting.greet(socket),
  );
  greeting.watch(socket);
  const abort = (): void => greeting.abandon(CodedError.from(abortReason(signal)));
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await greeting.link;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** Makes a link of an accepted socket; rejects when it does not prove to be a member. */
export async function acceptLink(socket: Socket, context: GreetingContext): Promise<Link> {
  const greeting = new Greeting('listener', context);
  greeting.watch(socket);
  socket.on('data', (chunk: Buffer) => greeting.receiver.feed(chunk));
  greeting.greet(socket);
  return greeting.link;
}

/** A connection on its way to be a link: socket events, deadline, handshake. */
class Greeting {
  readonly receiver: Receiver;
  readonly link: Promise<Link>;
  readonly #side: 'dialler' | 'listener';
  readonly #expected: string | undefined;
  readonly #context: GreetingContext;
  readonly #reader: FrameReader;
  readonly #settled = Promise.withResolvers<Link>();
  readonly #deadline: Timer;
  #established: Link | undefined;
  #socket: Socket | undefined;
  #linkSocket: LinkSocket | undefined;
  #cause: Error | undefined;

  constructor(side: 'dialler' | 'listener', context: GreetingContext, expected?: string) {
    this.#side = side;
    this.#context = context;
    this.#expected = expected;
    this.link = this.#settled.promise;
    this.#reader = new FrameReader({
      onFrame: tooEarly,
      onData: tooEarly,
    });
    this.receiver = new Receiver(this.#reader, (error) => this.fail(error));
    const { clock, limits } = context.links;
    this.#deadline = clock.after(limits.handshakeMs, () => {
      this.fail(new CodedError('ERR_LINK', `no handshake within ${limits.handshakeMs} ms`));
    });
  }

  /** Follows the socket to its end. */
  watch(socket: Socket): void {
    this.#socket = socket;
    socket.on('error', (error) => (this.#cause = error));
    socket.once('close', () => this.#onClose());
  }

  /** The socket is connected and encrypted: begins the handshake. */
  greet(socket: Socket): void {
    const { links, identity, encryption, record, admit } = this.#context;
    const linkSocket = new LinkSocket(socket, links);
    this.#linkSocket = linkSocket;
    try {
      const certificate = remoteCertificate(socket);
      const handshake = new Handshake({
        side: this.#side,
        encryption,
        identity,
        trust: links.trust,
        record: record(),
        features: links.compression === undefined ? 0 : FEATURE_ZSTD,
        expected: this.#expected,
        certified: certificate && links.trust.peerIdOfCertificate(certificate),
        send: (frame) => linkSocket.send(frame),
        admit,
        onDone: (authenticated) => this.#onDone(linkSocket, authenticated),
      });
      this.#reader.handler = handshake;
      handshake.start();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Nobody wants the link any more; one that is ready stays, for others. */
  abandon(error: CodedError): void {
    if (this.#established === undefined) this.fail(error);
  }

  /** Ends what has become of the connection: a link, a handshake, or a dial. */
  fail(cause: unknown): void {
    if (this.#established !== undefined) {
      this.#established.fail(cause);
      return;
    }
    const error = CodedError.from(cause);
    this.#deadline.cancel();
    this.receiver.stop();
    this.#settled.reject(error);
    const goodbye = encodeFrame({ type: frameTypes.goodbye }, error.code);
    if (this.#linkSocket === undefined) this.#socket?.destroy();
    else this.#linkSocket.closeWith(goodbye);
  }

  #onDone(socket: LinkSocket, authenticated: Authenticated): void {
    this.#deadline.cancel();
    const { receiver } = this;
    const link = new Link(
      { side: this.#side, socket, receiver, authenticated },
      this.#context.links,
    );
    this.#established = link;
    this.#reader.handler = link;
    this.#context.onLink(link);
    this.#settled.resolve(link);
  }

  #onClose(): void {
    const reason = systemCode(this.#cause) ?? 'closed';
    const options = { cause: this.#cause, detail: { reason } };
    if (this.#established !== undefined) {
      this.#established.onSocketClosed(new CodedError('ERR_LINK', 'the link was lost', options));
    } else this.fail(new CodedError('ERR_LINK', 'the peer is not reached', options));
  }
}

function tooEarly(): never {
  throw protocolError('bytes come before the handshake');
}
