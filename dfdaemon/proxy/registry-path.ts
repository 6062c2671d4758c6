import { CodedError } from '../../core/base/error.ts';
import { looksLikeRegistry } from './registry-upstreams.ts';
import type { Upstream, Upstreams } from './registry-upstreams.ts';

/** What a request asks of a registry; `name` is the repository. */
export type RegistryTarget =
  | { readonly kind: 'ping' }
  | { readonly kind: 'blob'; readonly name: string; readonly digest: string }
  | { readonly kind: 'manifest'; readonly name: string; readonly reference: string }
  /** Tag lists, referrers, the catalogue, which is of no repository: whatever changes, and is small. */
  | { readonly kind: 'other'; readonly name: string | undefined };

/** A request for a registry, read from its URL. */
export interface RegistryAsk {
  readonly target: RegistryTarget;
  /** Undefined: none is named and none is configured. */
  readonly upstream: Upstream | undefined;
  /** The value of `ns`, as it is answered back. */
  readonly namespace: string | undefined;
  /** Path and query at the upstream, which begin with `/v2/`. */
  readonly path: string;
  /** What the client's paths begin with where those of the upstream begin with `/v2/`. */
  readonly prefix: string;
}

const MAX_NAME = 1024;
const PART = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/;
const REFERENCE = /^[A-Za-z0-9_][A-Za-z0-9._:+-]{0,255}$/;

const BLOB_PATH = /^\/v2\/(.+)\/blobs\/(sha256:[0-9a-f]{64})$/;

/** What is asked of a registry by a URL of its own, without a mirror's words; undefined unless it names a blob by its digest. */
export function blobOfUrl(
  url: URL,
): (RegistryAsk & { readonly upstream: Upstream; readonly digest: string }) | undefined {
  const [, name, digest] = BLOB_PATH.exec(url.pathname) ?? [];
  if (name === undefined || digest === undefined) return undefined;
  return {
    target: { kind: 'blob', name, digest },
    upstream: { name: url.host, origin: url.origin },
    namespace: undefined,
    path: url.pathname + url.search,
    prefix: '/v2/',
    digest,
  };
}

/** True for a path, without its query, of the registry protocol. */
export function isRegistryPath(path: string): boolean {
  return path === '/v2' || path.startsWith('/v2/');
}

/**
 * Reads path and query of a request: the registry is named by `?ns=`, else by the first part of the path when that
 * looks like one, else it is the default. Throws ERR_REQUEST saying what is malformed, ERR_NOT_FOUND for a path that
 * the protocol does not have.
 */
export function parseRegistryUrl(url: string, upstreams: Upstreams): RegistryAsk {
  const query = url.indexOf('?');
  const params = new URLSearchParams(query < 0 ? '' : url.slice(query + 1));
  const parts = partsOf(query < 0 ? url : url.slice(0, query));
  const namespace = params.get('ns') ?? undefined;
  params.delete('ns');
  const [first = ''] = parts;
  const isPrefixed = namespace === undefined && parts.length > 1 && looksLikeRegistry(first);
  const rest = isPrefixed ? parts.slice(1) : parts;
  const named = isPrefixed ? first : namespace;
  const upstream = named === undefined ? upstreams.default : upstreams.named(named);
  if (named !== undefined && upstream === undefined) {
    const where = isPrefixed ? 'the first part of the path' : 'ns';
    throw new CodedError('ERR_REQUEST', `${where}: no registry is named ${named.slice(0, 100)}`);
  }
  return {
    target: targetOf(rest),
    upstream,
    namespace,
    path: `/v2/${rest.join('/')}${params.size === 0 ? '' : `?${params.toString()}`}`,
    prefix: isPrefixed ? `/v2/${first}/` : '/v2/',
  };
}

/** Parts of the path after `/v2/`, decoded; they hold nothing that has a meaning in a URL. */
function partsOf(path: string): readonly string[] {
  const text = path.replace(/^\/v2\/?/, '');
  if (text.length > MAX_NAME) throw malformed(`a path of at most ${MAX_NAME} characters`);
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch {
    throw malformed('a path that can be decoded');
  }
  const parts = decoded.split('/');
  const isPlain = parts.every((part) => !/[^\x21-\x7e]|[?#%\\]|^\.{1,2}$/.test(part));
  if (!isPlain) throw malformed('a path without "..", spaces and signs of a URL');
  return parts;
}

function targetOf(parts: readonly string[]): RegistryTarget {
  const last = parts.at(-1) ?? '';
  const kind = parts.at(-2);
  if (parts.length === 1 && (last === '' || last === '_catalog')) {
    return last === '' ? { kind: 'ping' } : { kind: 'other', name: undefined };
  }
  const names = parts.slice(0, -2);
  if (names.length === 0 || !names.every((part) => PART.test(part))) {
    throw new CodedError('ERR_REQUEST', 'name: not the name of a repository');
  }
  if (!REFERENCE.test(last)) throw malformed('a tag or digest at its end');
  const name = names.join('/');
  if (kind === 'blobs') return { kind: 'blob', name, digest: last };
  if (kind === 'manifests') return { kind: 'manifest', name, reference: last };
  if (kind === 'referrers' || (kind === 'tags' && last === 'list')) return { kind: 'other', name };
  throw new CodedError('ERR_NOT_FOUND', 'the registry protocol has nothing at this path');
}

function malformed(expected: string): CodedError {
  return new CodedError('ERR_REQUEST', `path: expected ${expected}`);
}
