import { CodedError } from '../base/error.ts';
import type { HttpHeaders } from '../net/http-client.ts';
import type { Validators } from '../piece/version.ts';
import { parseRetryAfter } from './retry-policy.ts';

/** What an origin said before its body. */
export interface OriginHead {
  /** 200: the body is the whole content; 206: the range `[rangeStart, rangeEnd)` of it; 304: no body, nothing changed. */
  readonly status: 200 | 206 | 304;
  /** After redirects, without credentials. */
  readonly url: string;
  /** Bytes of the whole content as sent (before any decoding), when the origin says so. */
  readonly length: number | undefined;
  /** Offset in the content of the body's first byte. */
  readonly rangeStart: number;
  /** Offset just past the body's last byte; undefined when unknown until the body ends. */
  readonly rangeEnd: number | undefined;
  /** True when the origin is known to serve ranges. */
  readonly acceptsRanges: boolean;
  readonly validators: Validators;
  /** Set when the body is encoded although identity was asked for; the bytes are passed on as they are. */
  readonly contentEncoding?: string;
  readonly contentType?: string;
  readonly cacheControl?: string;
  /** The origin's own time of the answer, as sent. */
  readonly date?: string;
}

/** A half-open byte range; `end` absent: to the end of the content. */
export interface ByteRange {
  readonly start: number;
  readonly end?: number | undefined;
}

/** What was asked, to judge an answer by. */
export interface Asked {
  /** The URL that gave this answer. */
  readonly url: URL;
  readonly range: ByteRange | undefined;
  /** True when 304 is a fitting answer. */
  readonly isConditional: boolean;
  /** Wall time, for `Retry-After` dates. */
  readonly nowMs: number;
}

/** An answer's status and headers. */
export interface Answer {
  readonly status: number;
  readonly headers: HttpHeaders;
}

/** The first value of a header. */
export function headerOf(headers: HttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'object' ? value[0] : value;
}

/** A URL as messages and logs may show it: without credentials and query, which often hold secrets. */
export function describeUrl(url: URL): string {
  const text = `${url.origin}${url.pathname}`;
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

/** Reads an answer that is no redirect; throws what it means when it holds no usable content. */
export function parseHead(answer: Answer, asked: Asked): OriginHead {
  switch (answer.status) {
    case 200:
    case 203:
      return wholeHead(answer, asked);
    case 206:
      return rangeHead(answer, asked);
    case 304:
      if (!asked.isConditional) throw unusable(answer, asked, 'answered 304 to no condition');
      return {
        ...commonHead(answer, asked),
        status: 304,
        length: undefined,
        rangeStart: 0,
        rangeEnd: 0,
      };
    case 412:
      throw new CodedError(
        'ERR_ORIGIN_CHANGED',
        `${describeUrl(asked.url)} has another version now`,
        {
          detail: { status: 412 },
        },
      );
    case 416:
      throw outsideRange(answer, asked);
    default:
      throw statusError(answer, asked);
  }
}

function wholeHead(answer: Answer, asked: Asked): OriginHead {
  const length = bodyLength(answer.headers);
  return { ...commonHead(answer, asked), status: 200, length, rangeStart: 0, rangeEnd: length };
}

const contentRange = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i;

function rangeHead(answer: Answer, asked: Asked): OriginHead {
  const { range } = asked;
  if (range === undefined) throw unusable(answer, asked, 'answered 206 to no range');
  const text = headerOf(answer.headers, 'content-range') ?? '';
  const match = contentRange.exec(text.trim());
  if (match === null) {
    // Among others a multipart/byteranges body, which one asked range never needs.
    throw unusable(answer, asked, 'answered 206 without the range it sends');
  }
  const [, first, last, total] = match;
  const rangeStart = Number(first);
  const rangeEnd = Number(last) + 1;
  const length = total === '*' ? undefined : Number(total);
  const isTooLong = rangeEnd > (range.end ?? Infinity) || rangeEnd > (length ?? Infinity);
  if (rangeStart !== range.start || rangeEnd <= rangeStart || isTooLong) {
    const wanted = `${range.start}-${range.end === undefined ? '' : range.end - 1}`;
    throw unusable(answer, asked, `was asked for bytes ${wanted} and sent "${text.slice(0, 80)}"`);
  }
  const announced = bodyLength(answer.headers);
  if (announced !== undefined && announced !== rangeEnd - rangeStart) {
    throw unusable(answer, asked, `sent ${announced} bytes for "${text.slice(0, 80)}"`);
  }
  const common = commonHead(answer, asked);
  return { ...common, status: 206, acceptsRanges: true, length, rangeStart, rangeEnd };
}

function commonHead(
  { headers }: Answer,
  { url }: Asked,
): Omit<OriginHead, 'status' | 'length' | 'rangeStart' | 'rangeEnd'> {
  const shown = new URL(url);
  shown.username = '';
  shown.password = '';
  const contentEncoding = headerOf(headers, 'content-encoding');
  const contentType = headerOf(headers, 'content-type');
  const cacheControl = headerOf(headers, 'cache-control');
  const date = headerOf(headers, 'date');
  const hasEncoding =
    contentEncoding !== undefined && !/^\s*(identity)?\s*$/i.test(contentEncoding);
  return {
    url: shown.href,
    acceptsRanges: /\bbytes\b/i.test(headerOf(headers, 'accept-ranges') ?? ''),
    validators: {
      etag: headerOf(headers, 'etag'),
      lastModified: headerOf(headers, 'last-modified'),
    },
    ...(hasEncoding ? { contentEncoding } : {}),
    ...(contentType === undefined ? {} : { contentType }),
    ...(cacheControl === undefined ? {} : { cacheControl }),
    ...(date === undefined ? {} : { date }),
  };
}

/** Bytes of the body as announced; none are when it is chunked or ends with the connection. */
function bodyLength(headers: HttpHeaders): number | undefined {
  if (headers['transfer-encoding'] !== undefined) return undefined;
  const text = headerOf(headers, 'content-length');
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

function outsideRange(answer: Answer, asked: Asked): CodedError {
  const total = /^bytes \*\/(\d{1,15})$/i.exec(
    headerOf(answer.headers, 'content-range') ?? '',
  )?.[1];
  const what = total === undefined ? '' : `; the content has ${total} bytes`;
  return new CodedError(
    'ERR_ORIGIN_RANGE',
    `${describeUrl(asked.url)} has no bytes from ${asked.range?.start ?? 0}${what}`,
    { detail: { status: 416, ...(total === undefined ? {} : { length: Number(total) }) } },
  );
}

function statusError(answer: Answer, asked: Asked): CodedError {
  const { status } = answer;
  const retryAfterMs = parseRetryAfter(headerOf(answer.headers, 'retry-after'), asked.nowMs);
  const detail = { status, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  const message = `${describeUrl(asked.url)} answered ${status}`;
  const isRefusal = status >= 400 && status < 500;
  return new CodedError(isRefusal ? 'ERR_ORIGIN_REFUSED' : 'ERR_ORIGIN_FAILING', message, {
    detail,
  });
}

function unusable(answer: Answer, asked: Asked, what: string): CodedError {
  return new CodedError('ERR_ORIGIN_FAILING', `${describeUrl(asked.url)} ${what}`, {
    detail: { status: answer.status },
  });
}
