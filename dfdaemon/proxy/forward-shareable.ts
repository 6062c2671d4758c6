// What may be given to everybody who asks for the same URL. Both halves are needed: the request must hold nothing that
// could make the answer somebody's own, and the origin must say that the answer is not.
import { listOf } from './forward-headers.ts';
import type { Headers } from './forward-headers.ts';

/** Headers that do not change which bytes are meant, or that the proxy answers for itself. Any other may be a secret. */
const harmless: ReadonlySet<string> = new Set([
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'connection',
  'content-length',
  'dnt',
  'expect',
  'host',
  'if-range',
  'keep-alive',
  'npm-auth-type',
  'npm-command',
  'npm-in-ci',
  'npm-scope',
  'npm-session',
  'pacote-integrity',
  'pacote-pkg-id',
  'pacote-req-type',
  'pacote-version',
  'pragma',
  'proxy-connection',
  'range',
  'referer',
  'te',
  'upgrade-insecure-requests',
  'user-agent',
  'via',
]);
/** Set by browsers about the page that asks. */
const harmlessPrefix = 'sec-';

/** Why a request concerns one client alone, in words; undefined when its answer may be shared. */
export function privacyOf(request: {
  readonly method: string;
  readonly headers: Headers;
}): string | undefined {
  if (request.method !== 'GET') return 'not a GET';
  for (const [name, value] of Object.entries(request.headers)) {
    if (value === undefined || harmless.has(name) || name.startsWith(harmlessPrefix)) continue;
    return `header ${name.slice(0, 100)}`;
  }
  const { 'content-length': length = '0', 'cache-control': caching } = request.headers;
  if (length !== '0') return 'a body';
  return directives(caching).has('no-store') ? 'Cache-Control: no-store' : undefined;
}

/** Why an answer to HEAD says that the content is not for everybody, or cannot be named by a version. */
export function unshareable(answer: {
  readonly status: number;
  readonly headers: Headers;
}): string | undefined {
  const { status, headers } = answer;
  if (status !== 200) return `status ${status}`;
  const caching = directives(headers['cache-control']);
  for (const word of ['private', 'no-store']) {
    if (caching.has(word)) return `Cache-Control: ${word}`;
  }
  if (headers['set-cookie'] !== undefined) return 'Set-Cookie';
  const varies = listOf(headers['vary']).find((name) => name.toLowerCase() !== 'accept-encoding');
  if (varies !== undefined) return `Vary: ${varies.slice(0, 100)}`;
  const [encoding = 'identity'] = listOf(headers['content-encoding']);
  if (encoding.toLowerCase() !== 'identity') return `Content-Encoding: ${encoding.slice(0, 100)}`;
  if (headers['etag'] === undefined && headers['last-modified'] === undefined) {
    return 'no ETag and no Last-Modified';
  }
  const length = headers['content-length'];
  return typeof length === 'string' && /^\d{1,15}$/.test(length) ? undefined : 'no Content-Length';
}

/** The words of Cache-Control, without their values. */
function directives(value: Headers[string]): Set<string> {
  return new Set(listOf(value).map((item) => (item.split('=', 1)[0] ?? '').trim().toLowerCase()));
}
