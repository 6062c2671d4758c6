import { createHash, timingSafeEqual } from 'node:crypto';
import { open } from 'node:fs/promises';
import { CodedError, systemCode } from '../../core/base/error.ts';

const MAX_FILE_BYTES = 65_536;
const BEARER = /^Bearer +([^\s]+) *$/i;

/** The keys of the HTTP API, kept as hashes. */
export class ApiKeys {
  readonly #hashes: readonly Buffer[];

  constructor(keys: readonly string[]) {
    this.#hashes = keys.map((key) => hashOf(key));
  }

  /**
   * Reads a file with one key a line; empty lines and those that begin with `#` are skipped. ERR_CONFIG when it
   * cannot be read, holds no key, or can be read by every user of the machine.
   */
  static async load(file: string, flag = '--api-key-file'): Promise<ApiKeys> {
    const text = await readSecretFile(file, flag);
    const lines = text.split('\n').map((line) => line.trim());
    const keys = lines.filter((line) => line !== '' && !line.startsWith('#'));
    if (keys.length === 0) throw new CodedError('ERR_CONFIG', `${flag}: ${file} has no key`);
    const spaced = lines.findIndex((line) => keys.includes(line) && /\s/.test(line));
    if (spaced >= 0) {
      const message = `${flag}: ${file} has a space in the key of line ${spaced + 1}`;
      throw new CodedError('ERR_CONFIG', message);
    }
    return new ApiKeys(keys);
  }

  /** True when an `Authorization` header carries one of the keys; takes as long whichever it is. */
  accepts(header: string | undefined): boolean {
    const key = BEARER.exec(header ?? '')?.[1];
    if (key === undefined) return false;
    const hash = hashOf(key);
    let isKnown = false;
    for (const known of this.#hashes) isKnown = timingSafeEqual(known, hash) || isKnown;
    return isKnown;
  }
}

function hashOf(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

async function readSecretFile(file: string, flag: string): Promise<string> {
  try {
    await using handle = await open(file, 'r');
    const { mode, size } = await handle.stat();
    if ((mode & 0o007) !== 0) {
      const message = `${flag}: every user of this machine can open ${file}; chmod 600 it`;
      throw new CodedError('ERR_CONFIG', message);
    }
    if (size > MAX_FILE_BYTES) {
      throw new CodedError('ERR_CONFIG', `${flag}: ${file} is too long for keys`);
    }
    return await handle.readFile('utf8');
  } catch (cause) {
    if (cause instanceof CodedError) throw cause;
    const reason = systemCode(cause) ?? 'unreadable';
    throw new CodedError('ERR_CONFIG', `${flag}: cannot read ${file} (${reason})`, {
      cause,
    });
  }
}
