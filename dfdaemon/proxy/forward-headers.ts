import { CodedError } from '../../core/base/error.ts';

/** Headers by lower-case name, of a request or an answer. */
export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/** What speaks of one connection only, or to the proxy itself (RFC 9110 §7.6.1). */
const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** The headers that concern the other end, without those that `Connection` names either. */
export function endToEnd(headers: Headers): Record<string, string | string[]> {
  const named = new Set(listOf(headers['connection']).map((name) => name.toLowerCase()));
  const kept: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || hopByHop.has(name) || named.has(name)) continue;
    kept[name] = typeof value === 'string' ? value : [...value];
  }
  return kept;
}

/** What is sent to the origin: end-to-end headers with one value each, and `via`, who passed them on. */
export function requestHeaders(
  headers: Headers,
  options: { readonly via?: string } = {},
): Record<string, string> {
  const sent: Record<string, string> = {};
  for (const [name, value] of Object.entries(endToEnd(headers))) {
    if (name === 'host' || name === 'expect') continue;
    const separator = name === 'cookie' ? '; ' : ', ';
    sent[name] = typeof value === 'string' ? value : value.join(separator);
  }
  return { ...sent, ...viaOf(headers, options.via) };
}

/** What is sent to the client. */
export function answerHeaders(
  headers: Headers,
  options: { readonly via?: string } = {},
): Record<string, string | string[]> {
  return { ...endToEnd(headers), ...viaOf(headers, options.via) };
}

/** Throws ERR_FORBIDDEN when the request came through this proxy before. */
export function refuseLoop(headers: Headers, via: string): void {
  const passed = listOf(headers['via']).some((entry) => entry.split(/\s+/)[1] === via);
  if (passed) {
    throw new CodedError('ERR_FORBIDDEN', 'the request came through this proxy before (a loop)');
  }
}

/** The items of a header that is a list. */
export function listOf(value: Headers[string]): string[] {
  const text = typeof value === 'object' ? value.join(',') : (value ?? '');
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function viaOf(headers: Headers, name: string | undefined): { via?: string } {
  if (name === undefined) return {};
  return { via: [...listOf(headers['via']), `1.1 ${name}`].join(', ') };
}

/** The value of a header that has one. */
export function valueOf(headers: Headers, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'object' ? value[0] : value;
}
