import { createHash, timingSafeEqual } from 'node:crypto';
import { open } from 'node:fs/promises';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { priorities } from '../../core/base/priority.ts';
import type { Priority } from '../../core/base/priority.ts';

const MAX_FILE_BYTES = 65_536;
const BEARER = /^Bearer +([^\s]+) *$/i;

/** A key of the HTTP API. */
interface ApiKey {
  readonly hash: Buffer;
  /** The most important class of downloads that it may order. */
  readonly most: Priority;
}

/** The keys of the HTTP API, kept as hashes. */
export class ApiKeys {
  readonly #keys: readonly ApiKey[];

  /** `keys`: as in lines of the file. */
  constructor(keys: readonly string[]) {
    this.#keys = keys.flatMap((line) => keyOfLine(line) ?? []);
  }

  /**
   * Reads a file with one key a line, `KEY` or `KEY priority=CLASS`; empty lines and those that begin with `#` are
   * skipped. ERR_CONFIG when it cannot be read, holds no key, or can be read by every user of the machine.
   */
  static async load(file: string, flag = '--api-key-file'): Promise<ApiKeys> {
    const text = await readSecretFile(file, flag);
    const lines = text.split('\n').map((line) => line.trim());
    const keys = lines.filter((line) => line !== '' && !line.startsWith('#'));
    if (keys.length === 0) throw new CodedError('ERR_CONFIG', `${flag}: ${file} has no key`);
    const wrong = lines.findIndex((line) => keys.includes(line) && keyOfLine(line) === undefined);
    if (wrong >= 0) {
      const expected = `KEY or KEY priority=CLASS, CLASS one of ${priorities.join(', ')}`;
      const message = `${flag}: ${file}: expected ${expected} in line ${wrong + 1}`;
      throw new CodedError('ERR_CONFIG', message);
    }
    return new ApiKeys(keys);
  }

  /** True when an `Authorization` header carries one of the keys; takes as long whichever it is. */
  accepts(header: string | undefined): boolean {
    return this.mostOf(header) !== undefined;
  }

  /** The most important class of downloads that the key in an `Authorization` header may order; undefined for none of ours. */
  mostOf(header: string | undefined): Priority | undefined {
    const key = BEARER.exec(header ?? '')?.[1];
    if (key === undefined) return undefined;
    const hash = hashOf(key);
    let most: Priority | undefined;
    for (const known of this.#keys) if (timingSafeEqual(known.hash, hash)) most = known.most;
    return most;
  }
}

/** A line of the file; without a word about it a key may order everything. */
function keyOfLine(line: string): ApiKey | undefined {
  const [key = '', ...words] = line.split(/\s+/);
  const [word = 'priority=release'] = words;
  const most = priorities.find((name) => word === `priority=${name}`);
  return most === undefined || words.length > 1 ? undefined : { hash: hashOf(key), most };
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
