import { CodedError } from '../base/error.ts';
import { parseOriginUrl } from '../piece/task-id.ts';
import type { Validators } from '../piece/version.ts';
import { describeUrl } from './response-head.ts';
import type { ByteRange } from './response-head.ts';
import { continuationHeaders, revalidationHeaders } from './validators.ts';
import type { ExpectedVersion } from './validators.ts';

/** A request for content or a part of it. */
export interface OriginRequest {
  /** Absolute http or https URL; a user and password in it become an Authorization header. */
  readonly url: string;
  /** The user's own; those that are about the connection, the range or the encoding are ignored. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly range?: ByteRange | undefined;
  /** What is known already: the answer is 304 when it is still so. */
  readonly condition?: Validators | undefined;
  /** The version that the answer must be of; anything else is ERR_ORIGIN_CHANGED. */
  readonly ifMatch?: ExpectedVersion | undefined;
}

/** Where to send a request, and with which headers. */
export interface Hop {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
}

/** Headers that this program sets itself, or that speak of one connection only. */
const ownHeaders: ReadonlySet<string> = new Set([
  'accept-encoding',
  'connection',
  'content-length',
  'expect',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'range',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Headers that may follow a redirect to another origin; everything else may be a credential by some name. */
const harmlessHeaders: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'accept-language',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'range',
  'user-agent',
]);

/** Names of parameters with which addresses are signed, for a while. */
const SIGNED = /[?&][^=&#]*(?:signature|token|expires|sig)=/i;

/** True for a request that may be refused later although it is answered now: with a token, or signed. */
export function mayExpire({ url, headers = {} }: OriginRequest): boolean {
  const names = Object.keys(headers).map((name) => name.toLowerCase());
  return (
    SIGNED.test(url) || !names.every((name) => ownHeaders.has(name) || harmlessHeaders.has(name))
  );
}

/** The first request; throws ERR_URL or ERR_ORIGIN_RANGE. */
export function firstHop(request: OriginRequest): Hop {
  const url = parseOriginUrl(request.url);
  const headers: Record<string, string> = {};
  if (url.username !== '' || url.password !== '') {
    headers['authorization'] = basicAuthorization(url);
    url.username = '';
    url.password = '';
  }
  url.hash = '';
  for (const [name, value] of Object.entries(request.headers ?? {})) {
    const lower = name.toLowerCase();
    if (!ownHeaders.has(lower)) headers[lower] = value;
  }
  const { range } = request;
  if (range !== undefined) headers['range'] = rangeHeader(range);
  if (request.condition !== undefined)
    Object.assign(headers, revalidationHeaders(request.condition));
  if (request.ifMatch !== undefined) {
    Object.assign(headers, continuationHeaders(request.ifMatch, { isRanged: range !== undefined }));
  }
  return { url, headers };
}

/** The request that follows a redirect; credentials and unknown headers stay behind when it leads to another origin. */
export function nextHop(hop: Hop, location: string | undefined): Hop {
  const url = location === undefined ? null : URL.parse(location, hop.url.href);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new CodedError(
      'ERR_ORIGIN_FAILING',
      `${describeUrl(hop.url)} redirects to nowhere that can be fetched`,
      { detail: { final: true } },
    );
  }
  url.username = '';
  url.password = '';
  url.hash = '';
  if (url.origin === hop.url.origin) return { url, headers: hop.headers };
  const kept = Object.entries(hop.headers).filter(([name]) => harmlessHeaders.has(name));
  return { url, headers: Object.fromEntries(kept) };
}

function rangeHeader({ start, end }: ByteRange): string {
  const isSane = Number.isSafeInteger(start) && start >= 0 && (end ?? start + 1) > start;
  if (!isSane) {
    throw new CodedError('ERR_ORIGIN_RANGE', `not a range of bytes: [${start}, ${end ?? ''})`);
  }
  return `bytes=${start}-${end === undefined ? '' : end - 1}`;
}

function basicAuthorization(url: URL): string {
  const plain = `${decode(url.username)}:${decode(url.password)}`;
  return `Basic ${Buffer.from(plain).toString('base64')}`;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
