import { gzipSync } from 'node:zlib';
import { contentChunks, contentLength, contentTag } from './content.ts';
import type { Content } from './content.ts';
import type { Route } from './route.ts';

/** What to answer a request with: status, headers, and the bytes `[start, end)` of `content` as body. */
export interface PlannedAnswer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly content: Content | undefined;
  readonly start: number;
  readonly end: number;
}

type RequestHeaders = Readonly<Record<string, string | string[] | undefined>>;

const OLD_DATE = 'Wed, 01 Jan 2020 00:00:00 GMT';

/** The answer of a well-behaved origin to a GET of this route, but for what the route says is missing or wrong. */
export async function planAnswer(
  route: Route,
  request: RequestHeaders,
  wrongRange: NonNullable<Route['wrongRange']>['kind'] | undefined,
): Promise<PlannedAnswer> {
  const content = await encoded(route);
  const length = contentLength(content);
  const headers = { ...validatorHeaders(route, content), ...route.headers };
  if (route.contentEncoding !== undefined) headers['content-encoding'] = route.contentEncoding;
  const status = precondition(request, headers);
  if (status !== undefined) return { status, headers, content: undefined, start: 0, end: 0 };
  const whole = { status: 200, headers, content, start: 0, end: length };
  if (route.ranges === false) return framed(whole, route);
  headers['accept-ranges'] = 'bytes';
  const range = askedRange(request, headers);
  if (range === undefined) return framed(whole, route);
  const end = Math.min(range.end ?? length, length);
  if (range.start >= length) {
    const none = { ...headers, 'content-range': `bytes */${length}` };
    return { status: 416, headers: none, content: undefined, start: 0, end: 0 };
  }
  const part = { ...whole, status: 206, start: range.start, end };
  return framed(misrange(part, length, wrongRange), route);
}

async function encoded(route: Route): Promise<Content> {
  const content = route.content ?? { bytes: new Uint8Array(0) };
  if (route.contentEncoding === undefined) return content;
  const chunks: Uint8Array[] = [];
  for await (const chunk of contentChunks(content, 0, contentLength(content))) chunks.push(chunk);
  return { bytes: gzipSync(Buffer.concat(chunks)) };
}

function validatorHeaders(route: Route, content: Content): Record<string, string> {
  const tag = contentTag(content);
  const lastModified = route.lastModified ?? OLD_DATE;
  switch (route.validators) {
    case 'none':
      return {};
    case 'last-modified':
      return { 'last-modified': lastModified };
    case 'weak':
      return { etag: `W/"${tag}"` };
    case 'strong':
    case undefined:
  }
  return { etag: `"${tag}"`, 'last-modified': lastModified };
}

/** 412 or 304 when a condition of the request says so. */
function precondition(
  request: RequestHeaders,
  own: Readonly<Record<string, string>>,
): number | undefined {
  const ifMatch = request['if-match'];
  if (ifMatch !== undefined && ifMatch !== own['etag']) return 412;
  const unmodified = request['if-unmodified-since'];
  if (ifMatch === undefined && isLater(own['last-modified'], unmodified)) return 412;
  const ifNoneMatch = request['if-none-match'];
  if (ifNoneMatch !== undefined) return ifNoneMatch === own['etag'] ? 304 : undefined;
  const since = request['if-modified-since'];
  const isSame = own['last-modified'] !== undefined && !isLater(own['last-modified'], since);
  return since !== undefined && isSame ? 304 : undefined;
}

function isLater(own: string | undefined, asked: string | string[] | undefined): boolean {
  return typeof asked === 'string' && Date.parse(own ?? '') > Date.parse(asked);
}

function askedRange(
  request: RequestHeaders,
  own: Readonly<Record<string, string>>,
): { start: number; end: number | undefined } | undefined {
  const match = /^bytes=(\d+)-(\d*)$/.exec(String(request['range'] ?? ''));
  if (match === null) return undefined;
  const ifRange = request['if-range'];
  const isSame = ifRange === own['etag'] || ifRange === own['last-modified'];
  if (ifRange !== undefined && !isSame) return undefined;
  return { start: Number(match[1]), end: match[2] === '' ? undefined : Number(match[2]) + 1 };
}

function misrange(
  part: PlannedAnswer,
  length: number,
  kind: NonNullable<Route['wrongRange']>['kind'] | undefined,
): PlannedAnswer {
  const named = (sent: PlannedAnswer, total: number): PlannedAnswer => {
    const text = `bytes ${sent.start}-${sent.end - 1}/${total}`;
    return { ...sent, headers: { ...sent.headers, 'content-range': text } };
  };
  switch (kind) {
    case 'other-start':
      return named({ ...part, start: Math.max(0, part.start - 1) }, length);
    case 'longer':
      return named({ ...part, end: Math.min(length, part.end + 1) }, length);
    case 'capped':
      // Some origins send at most so much at a time, which they may.
      return named({ ...part, end: Math.min(part.end, part.start + 4096) }, length);
    case 'multipart': {
      const headers = { ...part.headers, 'content-type': 'multipart/byteranges; boundary=x' };
      return { ...part, headers };
    }
    case 'unnamed':
      return part;
    case 'wrong-total':
      return named(part, length + 1);
    case undefined:
  }
  return named(part, length);
}

function framed(answer: PlannedAnswer, route: Route): PlannedAnswer {
  if ((route.framing ?? 'length') !== 'length') return answer;
  const announced = answer.end - answer.start + (route.wrongLength ?? 0);
  return { ...answer, headers: { ...answer.headers, 'content-length': String(announced) } };
}
