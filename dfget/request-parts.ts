/** The parts of a request that come as text: each parser names its flag when it refuses. */
import { CodedError } from '../core/base/error.ts';
import { priorities } from '../core/base/priority.ts';
import type { Priority } from '../core/base/priority.ts';

const digestLengths = new Map([
  ['crc32', 8],
  ['md5', 32],
  ['sha1', 40],
  ['sha256', 64],
  ['sha512', 128],
]);

/** What a URL may begin with; `dfget/origin-kinds.ts` knows what to make of those that are not http(s). */
const schemes = new Set(['http:', 'https:', 'file:', 's3:', 'oci:']);

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Set by whoever speaks to the origin; a second opinion would break framing or resuming. */
const ownHeaders = new Set([
  'connection',
  'content-length',
  'expect',
  'if-match',
  'if-none-match',
  'if-range',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** A URL without credentials, and those as an Authorization header. */
export interface ParsedUrl {
  readonly url: string;
  readonly authorization?: string;
}

/** Parses the URL; throws ERR_USAGE when it is missing and ERR_URL when it cannot be fetched. */
export function parseUrl(text: string | undefined): ParsedUrl {
  if (text === undefined || text === '') throw usage('a URL is needed: dfget URL -O FILE');
  const url = URL.parse(text);
  if (url === null) throw new CodedError('ERR_URL', `not an absolute URL: ${clip(text)}`);
  if (!schemes.has(url.protocol)) {
    throw new CodedError('ERR_URL', `scheme ${clip(url.protocol)} is not supported`);
  }
  if (url.username === '' && url.password === '') return { url: text };
  if (!url.protocol.startsWith('http')) {
    throw new CodedError('ERR_URL', `${url.protocol} URLs hold no user and no password`);
  }
  const pair = `${decode(url.username)}:${decode(url.password)}`;
  url.username = '';
  url.password = '';
  return { url: url.href, authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

/** The file name a URL ends in; throws ERR_USAGE when it has none. */
export function fileNameOf(url: string): string {
  const { pathname, protocol } = new URL(url);
  const raw = pathname.split('/').findLast((part) => part !== '') ?? '';
  // An artifact is named by its repository and tag, which is no name of what is in it.
  const name = protocol === 'oci:' ? '' : decode(raw);
  const isName = name !== '' && name !== '.' && name !== '..' && !/[/\p{Cc}]/u.test(name);
  if (!isName) throw usage('-O is needed: the URL does not end in a file name');
  return name;
}

/** Parses `ALGO:HEX`, to lower case; throws ERR_USAGE naming `flag`. */
export function parseDigest(text: string, flag: string): string {
  const [algorithm = '', hex = '', ...rest] = text.toLowerCase().split(':');
  const length = digestLengths.get(algorithm);
  if (length === undefined || rest.length > 0) {
    throw usage(`${flag}: expected ALGO:HEX with one of ${[...digestLengths.keys()].join(', ')}`);
  }
  if (hex.length !== length || !/^[0-9a-f]+$/.test(hex)) {
    throw usage(`${flag}: ${algorithm} has ${length} hex digits, got ${hex.length} characters`);
  }
  return `${algorithm}:${hex}`;
}

/** Parses `A-B` or `A-` (inclusive, as in HTTP) into half-open bytes; throws ERR_USAGE. */
export function parseRange(text: string): { start: number; end?: number } {
  const [, first = '', last = ''] = /^(?:bytes=)?(\d{1,15})-(\d{0,15})$/.exec(text) ?? [];
  if (first === '') throw usage(`--range: expected A-B or A-, got ${clip(text)}`);
  const start = Number(first);
  if (last === '') return { start };
  const end = Number(last) + 1;
  if (end <= start) throw usage(`--range: ${clip(text)} ends before it starts`);
  return { start, end };
}

/** Parses a class; the levels 0 to 6 of older scripts say nothing here. Throws ERR_USAGE. */
export function parsePriority(text: string): Priority | undefined {
  if (/^[0-6]$/.test(text)) return undefined;
  const priority = priorities.find((name) => name === text);
  if (priority !== undefined) return priority;
  throw usage(`--priority: expected one of ${priorities.join(', ')}, got ${clip(text)}`);
}

/** Parses `K: V` lines; equal names are joined as HTTP allows; throws ERR_USAGE without showing a value. */
export function parseHeaders(lines: readonly string[]): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon)).trim();
    if (!TOKEN.test(name) || /[\r\n]/.test(line.slice(0, colon)))
      throw usage("--header: expected 'Name: value'");
    const value = line.slice(colon + 1).replaceAll(/^[ \t]+|[ \t]+$/g, '');
    checkHeader(name, value);
    const same = [...headers.keys()].find((key) => key.toLowerCase() === name.toLowerCase());
    const before = same === undefined ? undefined : headers.get(same);
    const joint = name.toLowerCase() === 'cookie' ? '; ' : ', ';
    headers.set(same ?? name, before === undefined ? value : `${before}${joint}${value}`);
  }
  return headers;
}

function checkHeader(name: string, value: string): void {
  const lower = name.toLowerCase();
  if (lower === 'range') throw usage('--header: use --range for a part of the content');
  if (ownHeaders.has(lower)) throw usage(`--header: ${name} is set by the program itself`);
  // A line break in a value would end the header and begin one of somebody else's choice.
  if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) {
    throw usage(`--header: the value of ${name} holds a control or non-Latin character`);
  }
}

function usage(message: string): CodedError {
  return new CodedError('ERR_USAGE', message);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function clip(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}
