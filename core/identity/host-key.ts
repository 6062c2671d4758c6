import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { CodedError } from '../base/error.ts';
import { loadKeyFile } from './key-file.ts';
import { peerIdOf } from './peer-id.ts';

/** Protobuf of a libp2p private key: type 1 (ed25519), 64 bytes of data. */
const LIBP2P_PREFIX = Buffer.from([0x08, 0x01, 0x12, 0x40]);

/** The ed25519 key of a host, a supernode or a cell; who holds it is that peer. */
export class HostKey {
  readonly peerId: string;
  readonly privateKey: KeyObject;
  readonly #publicKey: Uint8Array;

  /** Wraps a private key; ERR_KEY_FILE when it is not ed25519. */
  constructor(privateKey: KeyObject) {
    if (privateKey.type !== 'private' || privateKey.asymmetricKeyType !== 'ed25519') {
      throw new CodedError('ERR_KEY_FILE', 'the key is not an ed25519 private key');
    }
    this.privateKey = privateKey;
    this.#publicKey = rawEnd(createPublicKey(privateKey).export({ format: 'der', type: 'spki' }));
    this.peerId = peerIdOf(this.#publicKey);
  }

  static generate(): HostKey {
    return new HostKey(generateKeyPairSync('ed25519').privateKey);
  }

  /** The key of a PKCS #8 PEM; ERR_KEY_FILE when it is malformed or of another kind. */
  static fromPem(pem: string): HostKey {
    let key: KeyObject;
    try {
      key = createPrivateKey({ key: pem, format: 'pem' });
    } catch (error) {
      throw new CodedError('ERR_KEY_FILE', 'the key is not a PEM of a private key', {
        cause: error,
      });
    }
    return new HostKey(key);
  }

  /**
   * The key in `file`, made there (mode 0600, parent folders 0700) when the file is missing; ERR_KEY_FILE when
   * others may read it or it is malformed.
   */
  static async load(file: string): Promise<HostKey> {
    return loadKeyFile(file, {
      kind: 'ed25519',
      generate: () => HostKey.generate().exportPem(),
      parse: (pem) => HostKey.fromPem(pem),
    });
  }

  /** The 64 bytes of ed25519 signature over `bytes`. */
  sign(bytes: Uint8Array): Uint8Array {
    return sign(null, bytes, this.privateKey);
  }

  /** The key as the protobuf that libp2p's `privateKeyFromProtobuf` takes; a secret. */
  libp2pPrivateKey(): Uint8Array {
    const seed = rawEnd(this.privateKey.export({ format: 'der', type: 'pkcs8' }));
    return Buffer.concat([LIBP2P_PREFIX, seed, this.#publicKey]);
  }

  /** The key as PKCS #8 PEM, to hand to a worker; a secret. */
  exportPem(): string {
    return this.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  }
}

/** DER of an ed25519 key, public or private, ends with its 32 raw bytes. */
function rawEnd(der: Buffer): Uint8Array {
  return der.subarray(-32);
}
