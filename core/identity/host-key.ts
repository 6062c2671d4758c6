import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { link, mkdir, open, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CodedError, systemCode } from '../base/error.ts';
import { randomHex } from '../base/random.ts';
import { peerIdOf } from './peer-id.ts';

/** A PEM of an ed25519 key has 119 bytes; whatever is larger than this is something else. */
const MAX_KEY_FILE_BYTES = 4096;
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
    try {
      return (await readKey(file)) ?? (await createKey(file));
    } catch (error) {
      if (error instanceof CodedError) throw error;
      throw keyFileError(file, 'cannot be read or created', error);
    }
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

/** The key in `file`, or undefined when there is no such file. */
async function readKey(file: string): Promise<HostKey | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(file, 'r');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  await using opened = handle;
  const stat = await opened.stat();
  if (!stat.isFile()) throw keyFileError(file, 'is not a file');
  if ((stat.mode & 0o077) !== 0) throw keyFileError(file, 'is open to group or others');
  if (stat.size > MAX_KEY_FILE_BYTES) throw keyFileError(file, 'is too large for a key');
  try {
    return HostKey.fromPem(await opened.readFile('utf8'));
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    throw keyFileError(file, 'holds no ed25519 private key', error);
  }
}

/**
 * Writes a new key beside `file` and links it there: the name never shows half a key, even after a crash, and of
 * two programs that start together the second takes the key of the first.
 */
async function createKey(file: string): Promise<HostKey> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const key = HostKey.generate();
  const draft = `${file}.${randomHex(8)}.new`;
  try {
    {
      await using handle = await open(draft, 'wx', 0o600);
      await handle.writeFile(key.exportPem());
      await handle.sync();
    }
    await link(draft, file);
    await using folder = await open(dirname(file), 'r');
    await folder.sync();
    return key;
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    const other = await readKey(file);
    if (other === undefined) throw error;
    return other;
  } finally {
    await unlink(draft).catch(() => undefined);
  }
}

function keyFileError(file: string, problem: string, cause?: unknown): CodedError {
  return new CodedError('ERR_KEY_FILE', `the key file ${file} ${problem}`, {
    cause,
    detail: { file },
  });
}
