import { hash } from 'node:crypto';
import { CodedError } from '../base/error.ts';

/** What makes two requests ask for the same bytes. */
export interface TaskKey {
  readonly url: string;
  readonly tag?: string | undefined;
  readonly application?: string | undefined;
  /** Half-open byte range `[start, end)` of the content; `end` undefined means to its end. */
  readonly range?: { readonly start: number; readonly end?: number | undefined } | undefined;
  /** `sha256:HEX` and the like, as the user expects the whole content. */
  readonly digest?: string | undefined;
  /** Names of query parameters that do not change the bytes (signatures, tokens). */
  readonly filteredQueryParams?: readonly string[] | undefined;
}

/** Digests strong enough to name content by themselves, whatever URL it comes from. */
const NAMING_DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/**
 * The id of a task: 64 hex digits. A whole content with a strong digest is named by that digest alone;
 * anything else by its normalised URL, tag, application, range and digest.
 */
export function taskIdOf(key: TaskKey): string {
  const digest = key.digest?.toLowerCase();
  if (isNamedByDigest(key)) {
    return hash('sha256', JSON.stringify(['odonata-task-1', 'digest', digest]));
  }
  const url = normaliseUrl(key.url, key.filteredQueryParams ?? []);
  const range = key.range === undefined ? null : [key.range.start, key.range.end ?? null];
  return hash(
    'sha256',
    JSON.stringify([
      'odonata-task-1',
      'url',
      url,
      key.tag ?? null,
      key.application ?? null,
      range,
      digest ?? null,
    ]),
  );
}

/** True when the digest alone names the task, so that its URL may be anything. */
export function isNamedByDigest(key: Pick<TaskKey, 'digest' | 'range'>): boolean {
  return key.range === undefined && NAMING_DIGEST.test(key.digest?.toLowerCase() ?? '');
}

/** The URL without fragment, credentials and filtered parameters; scheme and host in lower case. */
export function normaliseUrl(text: string, filteredQueryParams: readonly string[] = []): string {
  const url = parseOriginUrl(text);
  url.hash = '';
  url.username = '';
  url.password = '';
  if (filteredQueryParams.length > 0) {
    // Rebuilt by hand: URLSearchParams would re-encode the parameters that stay.
    const dropped = new Set(filteredQueryParams);
    const kept = paramsOf(url).filter((part) => !dropped.has(decodeName(part)));
    url.search = kept.join('&');
  }
  return url.href;
}

/** True when the URL has one of the parameters that do not count for the task. */
export function hasFilteredParams(text: string, filteredQueryParams: readonly string[]): boolean {
  const filtered = new Set(filteredQueryParams);
  return paramsOf(parseOriginUrl(text)).some((part) => filtered.has(decodeName(part)));
}

/** The URL as it may be kept, shown and logged: without user, query and fragment, where secrets travel. */
export function withoutSecrets(text: string): string {
  const url = URL.parse(text);
  return url === null ? '' : `${url.protocol}//${url.host}${url.pathname}`;
}

/** Parses an absolute http or https URL; throws ERR_URL naming what is wrong. */
export function parseOriginUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null) throw new CodedError('ERR_URL', `not an absolute URL: ${clip(text)}`);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new CodedError('ERR_URL', `scheme ${url.protocol.slice(0, 20)} is not supported`);
  }
  return url;
}

function paramsOf(url: URL): string[] {
  return url.search
    .slice(1)
    .split('&')
    .filter((part) => part !== '');
}

function decodeName(part: string): string {
  const [name = ''] = part.split('=', 1);
  try {
    return decodeURIComponent(name.replaceAll('+', ' '));
  } catch {
    return name;
  }
}

function clip(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
