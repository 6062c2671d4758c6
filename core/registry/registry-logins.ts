/** Logins for registries as docker and podman keep them: `{"auths": {"HOST[:PORT][/PATH]": {"auth": BASE64}}}`. */
import { open } from 'node:fs/promises';
import { CodedError, systemCode } from '../base/error.ts';
import type { Credentials } from './registry-auth.ts';

/** As long as what the control plane takes of a header. */
const MAX_SECRET = 8_192;
const MAX_FILE_BYTES = 1024 * 1024;
/** Names of Docker Hub, in files and of the registry itself. */
const DOCKER_HUB: ReadonlySet<string> = new Set([
  'docker.io',
  'index.docker.io',
  'registry-1.docker.io',
]);

/** Who somebody is at which registry. */
export class RegistryLogins {
  /** By registry, or registry and the first parts of a repository's name. */
  readonly #byPlace: ReadonlyMap<string, Credentials>;

  private constructor(byPlace: ReadonlyMap<string, Credentials>) {
    this.#byPlace = byPlace;
  }

  /** Throws ERR_CONFIG naming the field that is wrong; nothing of what it holds is in the message. */
  static parse(text: string): RegistryLogins {
    const file = jsonOf(text);
    const auths = isObject(file) ? (file['auths'] ?? {}) : undefined;
    if (!isObject(auths)) throw wrong('auths', 'expected an object of registries');
    const byPlace = new Map<string, Credentials>();
    for (const [name, entry] of Object.entries(auths)) {
      byPlace.set(placeOf(name), credentialsOf(entry, `auths/${name}`));
    }
    return new RegistryLogins(byPlace);
  }

  /** Registries, or parts of them, that there is a login for. */
  get places(): readonly string[] {
    return [...this.#byPlace.keys()];
  }

  /** The login for a repository (`''`: the registry as such) of `HOST[:PORT]`, the one for its longest part first. */
  find(registry: string, repository: string): Credentials {
    const host = hostOf(registry.toLowerCase());
    const parts = repository === '' ? [] : repository.split('/');
    for (let count = parts.length; count >= 0; count -= 1) {
      const found = this.#byPlace.get([host, ...parts.slice(0, count)].join('/'));
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

/** The file, and what tells whether it was changed since. */
export interface ReadLogins {
  readonly logins: RegistryLogins;
  readonly version: string;
}

/** Reads a file that its owner alone may read; ERR_CONFIG naming it when it is another, or malformed. */
export async function readLogins(path: string): Promise<ReadLogins> {
  try {
    await using file = await open(path, 'r');
    const facts = await file.stat();
    if (!facts.isFile()) throw refused(path, 'is not a file');
    if ((facts.mode & 0o077) !== 0) throw refused(path, 'is open to group or others: chmod 600 it');
    if (facts.size > MAX_FILE_BYTES) throw refused(path, `is longer than ${MAX_FILE_BYTES} bytes`);
    return { logins: RegistryLogins.parse(await file.readFile('utf8')), version: versionOf(facts) };
  } catch (error) {
    if (!(error instanceof CodedError)) {
      throw refused(path, `cannot be read (${systemCode(error) ?? 'unknown'})`);
    }
    throw error.message.startsWith(path) ? error : refused(path, error.message);
  }
}

/** What changes with a file, from its facts. */
export function versionOf(facts: {
  readonly ino: number;
  readonly size: number;
  readonly mode: number;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
}): string {
  return [facts.ino, facts.size, facts.mode, facts.mtimeMs, facts.ctimeMs].join('/');
}

/** `https://index.docker.io/v1/` is how docker names its Hub. */
function placeOf(name: string): string {
  const [, bare = ''] = /^(?:https?:\/\/)?([^?#]*?)(?:\/v[12])?\/*$/.exec(name) ?? [];
  const [host = '', ...rest] = bare.split('/');
  if (host === '') throw wrong(`auths/${name}`, 'expected HOST[:PORT] and maybe a path');
  return [hostOf(host.toLowerCase()), ...rest].join('/');
}

function hostOf(host: string): string {
  return DOCKER_HUB.has(host) ? 'docker.io' : host;
}

function credentialsOf(entry: unknown, field: string): Credentials {
  if (!isObject(entry)) throw wrong(field, 'expected an object');
  const { auth, username, password, registrytoken: token } = entry;
  if (isSecret(token)) return { token };
  if (isSecret(auth)) {
    const [, name = '', secret = ''] =
      /^([^:]+):(.*)$/s.exec(Buffer.from(auth, 'base64').toString()) ?? [];
    if (name === '') throw wrong(`${field}/auth`, 'expected USER:PASSWORD in base64');
    // docker pads what it writes with zeros.
    return { username: name, password: secret.replace(/\0+$/, '') };
  }
  if (isSecret(username) && typeof password === 'string' && password.length <= MAX_SECRET) {
    return { username, password };
  }
  if (isSecret(entry['identitytoken'])) {
    throw wrong(`${field}/identitytoken`, 'is not used here: log in with a password or a token');
  }
  throw wrong(field, 'holds no "auth"; what a credential helper keeps cannot be used here');
}

function isSecret(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_SECRET;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The library's message quotes what it read.
    throw new CodedError('ERR_CONFIG', 'is no JSON');
  }
}

function wrong(field: string, expected: string): CodedError {
  return new CodedError('ERR_CONFIG', `${field}: ${expected}`, { detail: { field } });
}

function refused(path: string, what: string): CodedError {
  return new CodedError('ERR_CONFIG', `${path}: ${what}`, { detail: { path } });
}
