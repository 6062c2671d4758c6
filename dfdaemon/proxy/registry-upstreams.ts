import { isIP } from 'node:net';
import { formatHostPort, parseHostPort } from '../../core/base/addresses.ts';
import { CodedError } from '../../core/base/error.ts';

/** A registry that the mirror may stand for. */
export interface Upstream {
  /** As the client named it; `registry.test:5000`. */
  readonly name: string;
  /** Scheme, host and port, without a slash at the end. */
  readonly origin: string;
}

/** How registries are reached, as the operator said. */
export interface UpstreamOptions {
  /** URL of the registry of requests that name none. */
  readonly registry?: string | undefined;
  /** `HOST` or `HOST:PORT` of registries that speak http. */
  readonly insecureRegistries?: readonly string[];
}

/** Names under which clients know Docker Hub; the registry itself lives elsewhere. */
const DOCKER_HUB = new Set(['docker.io', 'index.docker.io']);
const DOCKER_HUB_REGISTRY = 'registry-1.docker.io';

/** Knows where the registry that a request names is, and by which scheme it is reached. */
export class Upstreams {
  /** The registry of requests that name none. */
  readonly default: Upstream | undefined;
  readonly #insecure: ReadonlySet<string>;

  /** Throws ERR_USAGE naming the option that is wrong. */
  constructor(options: UpstreamOptions = {}) {
    this.#insecure = new Set(options.insecureRegistries?.map(insecureName));
    this.default = options.registry === undefined ? undefined : defaultUpstream(options.registry);
  }

  /** The registry that `HOST[:PORT]` names; undefined when it is no such name. */
  named(text: string): Upstream | undefined {
    const name = text.toLowerCase();
    if (name === this.default?.name) return this.default;
    const place = parseHostPort(name, 443);
    if (place === undefined || name.includes('@')) return undefined;
    const host = DOCKER_HUB.has(name) ? DOCKER_HUB_REGISTRY : name;
    const isClear =
      isLoopback(place.host) || this.#insecure.has(name) || this.#insecure.has(place.host);
    const url = URL.parse(`${isClear ? 'http' : 'https'}://${bracketed(host, place.host)}`);
    return url === null ? undefined : { name, origin: url.origin };
  }
}

/** True for the first part of a repository's path that is a registry's name, by the rule that image names follow. */
export function looksLikeRegistry(part: string): boolean {
  return part === 'localhost' || /[.:]/.test(part);
}

function defaultUpstream(text: string): Upstream {
  const url = URL.parse(text);
  const isOrigin =
    url !== null && url.pathname === '/' && url.search === '' && url.hash === '' && !hasUser(url);
  if (!isOrigin || !/^https?:$/.test(url.protocol)) {
    const message = '--registry: expected http:// or https:// with host and port alone';
    throw new CodedError('ERR_USAGE', message);
  }
  const name = DOCKER_HUB.has(url.host) ? DOCKER_HUB_REGISTRY : url.host;
  return { name: url.host, origin: `${url.protocol}//${name}` };
}

function insecureName(text: string): string {
  const place = parseHostPort(text.toLowerCase(), 443);
  if (place === undefined) {
    const message = `--insecure-registry: expected HOST or HOST:PORT, got ${text.slice(0, 100)}`;
    throw new CodedError('ERR_USAGE', message);
  }
  const hasPort = /:\d{1,5}$/.test(text) && isIP(text) === 0;
  return hasPort ? formatHostPort(place) : place.host;
}

function hasUser({ username, password }: URL): boolean {
  return username !== '' || password !== '';
}

/** A bare v6 address needs brackets in a URL. */
function bracketed(text: string, host: string): string {
  return text === host && isIP(host) === 6 ? `[${host}]` : text;
}

function isLoopback(host: string): boolean {
  if (host === 'localhost' || host.endsWith('.localhost') || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}
