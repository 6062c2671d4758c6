// Who is there. Over TLS the certificates have proven the peer ids, and HELLO brings the membership record; in the
// clear HELLO claims a peer id and AUTH proves it. The listener answers only after the dialler's proof, so a stranger
// learns nothing, and its answer tells the dialler that it is accepted.
import { createHash, randomBytes } from 'node:crypto';
import { CodedError } from '../../base/error.ts';
import { HELLO_MAGIC, encodeFrame, frameTypes, protocolError } from './frame.ts';
import type { FrameHeader } from './frame.ts';
import type { FrameHandler } from './frame-reader.ts';
import type { LinkIdentity, LinkTrust } from './link-identity.ts';
import type { LinkEncryption } from './link-socket.ts';
import { commonVersion, parseAuth, parseHello, remoteError, versionRange } from './messages.ts';
import type { Hello } from './messages.ts';

/** What a finished handshake knows of the other side. */
export interface Authenticated {
  readonly peerId: string;
  /** Its membership record, verified. */
  readonly record: string;
  /** Version of the protocol to speak. */
  readonly version: number;
  readonly features: number;
}

/** What a handshake is made of. */
export interface HandshakeOptions {
  readonly side: 'dialler' | 'listener';
  readonly encryption: LinkEncryption;
  readonly identity: LinkIdentity;
  readonly trust: LinkTrust;
  /** This host's membership record. */
  readonly record: string;
  /** Feature bits that this side says of itself; default none. */
  readonly features?: number | undefined;
  /** The peer that was dialled. */
  readonly expected?: string | undefined;
  /** The peer that the certificate of the other side is of; with encryption `tls`. */
  readonly certified?: string | undefined;
  readonly send: (frame: Buffer) => void;
  /** Throws, ERR_BUSY for one, when there is no room for a link to this peer. */
  readonly admit: (peerId: string) => void;
  readonly onDone: (authenticated: Authenticated) => void;
}

/** One side of the handshake, fed with frames; throws ERR_PROTOCOL, ERR_NOT_MEMBER, or what a GOODBYE said. */
export class Handshake implements FrameHandler {
  readonly #options: HandshakeOptions;
  readonly #hello: Buffer;
  #remoteHello: { frame: Buffer; hello: Hello; peerId: string; version: number } | undefined;
  #isDone = false;

  constructor(options: HandshakeOptions) {
    this.#options = options;
    const { encryption, identity, record, features = 0 } = options;
    const claims =
      encryption === 'tls'
        ? { record }
        : { peerId: identity.peerId, nonce: randomBytes(32).toString('base64url') };
    const fields = { type: frameTypes.hello, a: HELLO_MAGIC, b: versionRange() };
    this.#hello = encodeFrame(fields, JSON.stringify({ features, ...claims }));
  }

  /** Says the first word, if it is ours to say and the right peer is there to hear it. */
  start(): void {
    const { side, encryption, certified, send } = this.#options;
    if (encryption === 'tls') this.#judge(certified);
    if (side === 'dialler') send(this.#hello);
  }

  onData(): void {
    throw protocolError('DATA comes before HELLO');
  }

  onFrame(header: FrameHeader, payload: Uint8Array): void {
    if (header.type === frameTypes.goodbye) {
      throw remoteError(payload, 'refuses the link', this.#options.expected ?? 'unknown');
    }
    const { encryption } = this.#options;
    const isHelloDue = this.#remoteHello === undefined;
    if (isHelloDue && header.type === frameTypes.hello) this.#onHello(header, payload);
    else if (!isHelloDue && encryption === 'none' && header.type === frameTypes.auth) {
      this.#onAuth(payload);
    } else throw protocolError(`a frame of type ${header.type} comes during the handshake`);
  }

  #onHello(header: FrameHeader, payload: Uint8Array): void {
    const { side, encryption, certified, send } = this.#options;
    const version = commonVersion(header);
    const hello = parseHello(payload);
    const peerId = this.#judge(encryption === 'tls' ? certified : hello.peerId);
    const frame = encodeFrame(header, payload);
    this.#remoteHello = { frame, hello, peerId, version };
    if (encryption === 'tls') {
      this.#accept(hello.record ?? '');
      return;
    }
    if (hello.nonce === undefined) throw protocolError('HELLO has no nonce');
    send(side === 'listener' ? this.#hello : this.#auth());
  }

  /** AUTH of the other side; ours went before if we dialled, and follows if we listen. */
  #onAuth(payload: Uint8Array): void {
    const { side, trust } = this.#options;
    const { record, signature } = parseAuth(payload);
    const signer = side === 'dialler' ? 'listener' : 'dialler';
    const peerId = this.#remoteHello?.peerId ?? '';
    const bytes = this.#transcript(signer);
    const isSigned = verdict(() =>
      trust.verifySignature(peerId, bytes, Buffer.from(signature, 'base64url')),
    );
    if (!isSigned) throw notMember('the peer does not hold the key of its peer id', peerId);
    this.#accept(record);
  }

  #accept(record: string): void {
    const { side, encryption, trust, admit, send, onDone } = this.#options;
    const remote = this.#remoteHello;
    if (remote === undefined || this.#isDone) throw protocolError('the handshake is over');
    const { peerId, version, hello } = remote;
    verdict(() => trust.verifyMember(record, peerId));
    admit(peerId);
    this.#isDone = true;
    if (side === 'listener') send(encryption === 'tls' ? this.#hello : this.#auth());
    onDone({ peerId, record, version, features: hello.features });
  }

  /** The peer id that the certificate proves or HELLO claims, if it may be that one. */
  #judge(peerId: string | undefined): string {
    const { expected, identity } = this.#options;
    if (peerId === undefined) throw protocolError('the peer names itself nowhere');
    if (expected !== undefined && peerId !== expected) {
      throw notMember('another peer answers at the address', peerId);
    }
    if (peerId === identity.peerId) throw notMember('the peer shows our own identity', peerId);
    return peerId;
  }

  #auth(): Buffer {
    const { side, identity, record } = this.#options;
    const signature = Buffer.from(identity.sign(this.#transcript(side))).toString('base64url');
    return encodeFrame({ type: frameTypes.auth }, JSON.stringify({ record, signature }));
  }

  /** What `signer` signs: both HELLOs, so peer ids, nonces, versions and features, and which side it is. */
  #transcript(signer: 'dialler' | 'listener'): Buffer {
    const ours = this.#hello;
    const theirs = this.#remoteHello?.frame ?? Buffer.alloc(0);
    const inOrder = this.#options.side === 'dialler' ? [ours, theirs] : [theirs, ours];
    const digests = inOrder.map((frame) => createHash('sha256').update(frame).digest());
    return Buffer.concat([Buffer.from(`odonata link auth ${signer}\n`), ...digests]);
  }
}

/** What `decide` says; whatever it throws becomes ERR_NOT_MEMBER. */
function verdict<T>(decide: () => T): T {
  try {
    return decide();
  } catch (error) {
    const { message } = CodedError.from(error);
    throw new CodedError('ERR_NOT_MEMBER', `the peer is refused: ${message}`, { cause: error });
  }
}

function notMember(message: string, peer: string): CodedError {
  return new CodedError('ERR_NOT_MEMBER', message, { detail: { peer } });
}
