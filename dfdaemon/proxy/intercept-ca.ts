import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { SecureContext } from 'node:tls';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { randomHex } from '../../core/base/random.ts';
import { loadKeyFile } from '../../core/identity/key-file.ts';
import { LEAF_USE_MS, caCertificate, hostCertificate } from './intercept-certificate.ts';

const MAX_HOSTS = 256;

interface KeptContext {
  readonly context: SecureContext;
  readonly madeMs: number;
}

/** The CA that vouches for this proxy inside opened tunnels; its key never leaves the data folder. */
export class InterceptCa {
  /** Where its certificate is, for clients to trust. */
  readonly certificateFile: string;
  readonly certificatePem: string;
  readonly #key: KeyObject;
  readonly #clock: Clock;
  /** One for all hosts: making one takes longer than signing. */
  readonly #hostKey = newKey();
  readonly #contexts = new LRUCache<string, KeptContext>({ max: MAX_HOSTS });

  private constructor(parts: {
    readonly file: string;
    readonly certificatePem: string;
    readonly key: KeyObject;
    readonly clock: Clock;
  }) {
    this.certificateFile = parts.file;
    this.certificatePem = parts.certificatePem;
    this.#key = parts.key;
    this.#clock = parts.clock;
  }

  /** Makes key (mode 0600) and certificate on first use; throws ERR_KEY_FILE. */
  static async open(dataDir: string, options: { readonly clock: Clock }): Promise<InterceptCa> {
    const { clock } = options;
    const folder = join(dataDir, 'proxy');
    const key = await loadKeyFile(join(folder, 'ca.key'), {
      kind: 'P-256',
      generate: () => newKey().export({ format: 'pem', type: 'pkcs8' }).toString(),
      parse: parseKey,
    });
    const file = join(folder, 'ca.crt');
    const certificatePem = (await readIfThere(file)) ?? (await create(file, key, clock.now()));
    return new InterceptCa({ file, certificatePem, key, clock });
  }

  /** What TLS shows to clients that ask for this host. */
  contextFor(host: string): SecureContext {
    const name = host.toLowerCase();
    const nowMs = this.#clock.monotonic();
    const known = this.#contexts.get(name);
    if (known !== undefined && nowMs - known.madeMs < LEAF_USE_MS) return known.context;
    const cert = this.certificateFor(name);
    const key = this.#hostKey.export({ format: 'pem', type: 'pkcs8' });
    const context = createSecureContext({ cert: cert + this.certificatePem, key });
    this.#contexts.set(name, { context, madeMs: nowMs });
    return context;
  }

  /** A new certificate for a host, as PEM. */
  certificateFor(host: string): string {
    const now = this.#clock.now();
    return hostCertificate(host, { ca: this.#key, key: this.#hostKey, now });
  }
}

function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

function parseKey(pem: string): KeyObject {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return key;
  } catch (error) {
    throw new CodedError('ERR_KEY_FILE', 'not a PEM of a private key', { cause: error });
  }
  throw new CodedError('ERR_KEY_FILE', 'not a key on P-256');
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw unusable(file, error);
  }
}

/** Another program that does the same makes one that is as good: its name follows from the key. */
async function create(file: string, key: KeyObject, now: number): Promise<string> {
  const pem = caCertificate(key, { now });
  const draft = `${file}.${randomHex(8)}.new`;
  try {
    await writeFile(draft, pem, { mode: 0o644, flag: 'wx', flush: true });
    await rename(draft, file);
  } catch (error) {
    throw unusable(file, error);
  }
  return pem;
}

function unusable(file: string, cause: unknown): CodedError {
  const reason = systemCode(cause) ?? 'unusable';
  return new CodedError('ERR_KEY_FILE', `the certificate ${file} cannot be used (${reason})`, {
    cause,
    detail: { file },
  });
}
