import { CodedError } from '../base/error.ts';
import { parseRate } from '../base/units.ts';

/** What one host of origins may be asked for by this program, all its threads together. */
export interface OriginHostLimit {
  /** Its name as in URLs, without port; `*`: every host that is not named. */
  readonly host: string;
  /** Payload, 0 for no limit. */
  readonly bytesPerSecond: number;
  /** Requests in flight; absent: as many as of any other. */
  readonly requests?: number;
}

/** Stands for every host that is not named. */
export const ANY_HOST = '*';
/** Hosts that may be named. */
export const MAX_HOST_LIMITS = 64;
/** Requests in flight to one host unless something else is said: as a browser or two. */
export const DEFAULT_REQUESTS = 16;
const MAX_REQUESTS = 256;

/** `HOST=RATE`, `HOST=RATE,REQUESTS` or `HOST=,REQUESTS`; ERR_USAGE beginning with `flag`. */
export function parseOriginHostLimit(text: string, flag: string): OriginHostLimit {
  const [, name = '', rate = '', requests] =
    /^([^=\s]{1,255})=([^,\s]*)(?:,(\d{1,3}))?$/.exec(text) ?? [];
  const host = originHostOf(name);
  const bytesPerSecond = rate === '' ? 0 : parseRate(rate);
  const count = requests === undefined ? undefined : Number(requests);
  const isNothing = rate === '' && requests === undefined;
  const isCount = count === undefined || (count >= 1 && count <= MAX_REQUESTS);
  if (host === undefined || bytesPerSecond === undefined || !isCount || isNothing) {
    const expected = `HOST=RATE,CONNECTIONS (files.example=50MB/s,4), connections from 1 to ${MAX_REQUESTS}`;
    throw new CodedError('ERR_USAGE', `${flag}: expected ${expected}, got ${JSON.stringify(text)}`);
  }
  return { host, bytesPerSecond, ...(count === undefined ? {} : { requests: count }) };
}

/** All of a list; ERR_USAGE when one is wrong, named twice, or there are too many. */
export function parseOriginHostLimits(texts: readonly string[], flag: string): OriginHostLimit[] {
  const limits = texts.map((text) => parseOriginHostLimit(text, flag));
  const names = limits.map(({ host }) => host);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new CodedError('ERR_USAGE', `${flag}: ${twice} is named twice`);
  if (limits.length > MAX_HOST_LIMITS) {
    throw new CodedError('ERR_USAGE', `${flag}: at most ${MAX_HOST_LIMITS} hosts can be named`);
  }
  return limits;
}

/** A host as the URLs of origins spell it, in lower case; undefined for what cannot be one. */
export function originHostOf(name: string): string | undefined {
  if (name === ANY_HOST) return ANY_HOST;
  const isAddress = /^\[.*\]$/.test(name);
  if ((name.includes(':') && !isAddress) || !URL.canParse(`http://${name}/`)) return undefined;
  const { hostname, host, username, pathname } = new URL(`http://${name}/`);
  return host === hostname && username === '' && pathname === '/' ? hostname : undefined;
}

/** The limits of hosts, by name. */
export class OriginHostLimits {
  readonly #byHost: ReadonlyMap<string, OriginHostLimit>;
  readonly #defaultRequests: number;

  constructor(limits: readonly OriginHostLimit[] = [], defaultRequests = DEFAULT_REQUESTS) {
    this.#byHost = new Map(limits.map((limit) => [limit.host, limit]));
    this.#defaultRequests = defaultRequests;
  }

  rateOf(host: string): number {
    return (this.#byHost.get(host) ?? this.#byHost.get(ANY_HOST))?.bytesPerSecond ?? 0;
  }

  requestsOf(host: string): number {
    const any = this.#byHost.get(ANY_HOST)?.requests ?? this.#defaultRequests;
    return this.#byHost.get(host)?.requests ?? any;
  }

  /** True when the number of connections to this host was set: they are all to be of one thread. */
  isCounted(host: string): boolean {
    return (this.#byHost.get(host) ?? this.#byHost.get(ANY_HOST))?.requests !== undefined;
  }
}
