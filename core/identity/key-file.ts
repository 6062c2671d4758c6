import { link, mkdir, open, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CodedError, systemCode } from '../base/error.ts';
import { randomHex } from '../base/random.ts';

/** A PEM of a key on a curve has 119 to 241 bytes; whatever is larger than this is something else. */
const MAX_KEY_FILE_BYTES = 4096;

/** What kind of key a file holds. */
export interface KeyKind<Key> {
  /** For messages: `ed25519`. */
  readonly kind: string;
  /** A new one as PEM. */
  readonly generate: () => string;
  /** Throws a CodedError for another kind. */
  readonly parse: (pem: string) => Key;
}

/**
 * The key in `file`, made there (mode 0600, parent folders 0700) when the file is missing; ERR_KEY_FILE when others
 * may read it or it is malformed.
 */
export async function loadKeyFile<Key>(file: string, kind: KeyKind<Key>): Promise<Key> {
  try {
    return (await readKey(file, kind)) ?? (await createKey(file, kind));
  } catch (error) {
    if (error instanceof CodedError) throw error;
    throw keyFileError(file, 'cannot be read or created', error);
  }
}

/** The key in `file`, or undefined when there is no such file. */
async function readKey<Key>(file: string, kind: KeyKind<Key>): Promise<Key | undefined> {
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
    return kind.parse(await opened.readFile('utf8'));
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    throw keyFileError(file, `holds no ${kind.kind} private key`, error);
  }
}

/**
 * Writes a new key beside `file` and links it there: the name never shows half a key, even after a crash, and of
 * two programs that start together the second takes the key of the first.
 */
async function createKey<Key>(file: string, kind: KeyKind<Key>): Promise<Key> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const pem = kind.generate();
  const draft = `${file}.${randomHex(8)}.new`;
  try {
    {
      await using handle = await open(draft, 'wx', 0o600);
      await handle.writeFile(pem);
      await handle.sync();
    }
    await link(draft, file);
    await using folder = await open(dirname(file), 'r');
    await folder.sync();
    return kind.parse(pem);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    const other = await readKey(file, kind);
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
