import { isIP } from 'node:net';
import { CodedError } from '../base/error.ts';
import { isInCidr } from '../identity/cidr.ts';

/** An image in a registry. */
export interface ImageReference {
  /** Of the registry, without a slash at its end. */
  readonly base: string;
  readonly repository: string;
  /** Tag or digest. */
  readonly reference: string;
}

const REPOSITORY =
  /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;
const MANIFEST_PATH = /^\/v2\/(.+)\/manifests\/([^/]+)$/;
const MAX_REPOSITORY = 255;

/** True for a digest that registries name content by. */
export function isImageDigest(text: string): boolean {
  return DIGEST.test(text);
}

/**
 * Reads `[http[s]://][REGISTRY/]REPOSITORY[:TAG][@DIGEST]` as engines do (no registry: Docker Hub; no tag: latest), or
 * the URL of a manifest. A registry is spoken to over https unless the reference begins with `http://` or names none
 * and is on this machine.
 * Throws ERR_REQUEST naming `image`.
 */
export function parseImage(text: string): ImageReference {
  const [, given, rest = ''] = /^(?:(https?):\/\/)?(.+)$/.exec(text) ?? [];
  const url = URL.parse(`https://${rest}`);
  const isHere = url !== null && isLoopback(url.hostname);
  const scheme = given ?? (isHere ? 'http' : 'https');
  const [, repository, reference] = MANIFEST_PATH.exec(url?.pathname ?? '') ?? [];
  if (url !== null && repository !== undefined && reference !== undefined) {
    const { username, password, search, hash } = url;
    if (`${username}${password}${search}${hash}` !== '') throw wrong('the URL may hold a secret');
    const base = `${scheme}://${url.host}`;
    return checked({ base, repository, reference: decodeURIComponent(reference) });
  }
  const at = rest.indexOf('@');
  const digest = at < 0 ? undefined : rest.slice(at + 1);
  const named = at < 0 ? rest : rest.slice(0, at);
  const colon = named.lastIndexOf(':');
  const hasTag = colon > named.lastIndexOf('/');
  const path = hasTag ? named.slice(0, colon) : named;
  const tag = hasTag ? named.slice(colon + 1) : 'latest';
  if (hasTag && !TAG.test(tag)) throw wrong('the tag is malformed');
  return checked({ ...placeOf(path, scheme), reference: digest ?? tag });
}

function placeOf(path: string, scheme: string): { base: string; repository: string } {
  const slash = path.indexOf('/');
  const first = slash < 0 ? '' : path.slice(0, slash);
  // A first part without a dot or a port is a user of Docker Hub.
  const isHost = /[.:]/.test(first) || first === 'localhost';
  if (isHost && first !== 'docker.io' && first !== 'index.docker.io') {
    return { base: `${scheme}://${first}`, repository: path.slice(slash + 1) };
  }
  const name = isHost ? path.slice(slash + 1) : path;
  const repository = name.includes('/') ? name : `library/${name}`;
  return { base: 'https://registry-1.docker.io', repository };
}

function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '');
  if (isIP(bare) === 0) return host === 'localhost';
  return isInCidr(bare, '127.0.0.0/8') || isInCidr(bare, '::1');
}

function checked(image: ImageReference): ImageReference {
  const { base, repository, reference } = image;
  const url = URL.parse(base);
  if (url === null || url.username !== '' || url.password !== '' || url.pathname !== '/') {
    throw wrong('the registry is malformed');
  }
  if (repository.length > MAX_REPOSITORY || !REPOSITORY.test(repository)) {
    throw wrong('the repository is malformed');
  }
  if (!TAG.test(reference) && !isImageDigest(reference)) {
    throw wrong('the tag or digest is malformed');
  }
  return { ...image, base: url.origin };
}

function wrong(what: string): CodedError {
  return new CodedError('ERR_REQUEST', `image: ${what}`, { detail: { path: 'image' } });
}
