import { Type } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { priorities } from '../../core/base/priority.ts';
import type { DownloadRequest } from '../../core/swarm/download-events.ts';
import { parser } from '../../core/wire/parse-message.ts';

/** Timers count in 32 bits. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
const MAX_HEADERS = 100;
/** What travels on to a supernode has the same bounds (core/wire). */
const HeaderName = "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$";
/** No line break: it would end the header and begin one of somebody else's choice. */
const HeaderValue = '^[\\t\\x20-\\x7e\\x80-\\xff]*$';
const DigestText =
  '^(?:md5:[0-9A-Fa-f]{32}|sha1:[0-9A-Fa-f]{40}|sha256:[0-9A-Fa-f]{64}|sha512:[0-9A-Fa-f]{128}|crc32:[0-9A-Fa-f]{8})$';

const Bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

const Body = Type.Object({
  url: Type.String({ minLength: 1, maxLength: 8192 }),
  headers: Type.Optional(Type.Record(Type.String(), Type.String({ maxLength: 8192 }))),
  tag: Type.Optional(Type.String({ maxLength: 1024 })),
  application: Type.Optional(Type.String({ maxLength: 1024 })),
  filteredQueryParams: Type.Optional(Type.Array(Type.String({ maxLength: 256 }), { maxItems: 64 })),
  digest: Type.Optional(Type.String({ pattern: DigestText })),
  range: Type.Optional(Type.Object({ start: Bytes, end: Type.Optional(Bytes) })),
  backToSource: Type.Optional(Type.Boolean()),
  pattern: Type.Optional(Type.Union([Type.Literal('p2p'), Type.Literal('source')])),
  limitRate: Type.Optional(Bytes),
  priority: Type.Optional(Type.Enum([...priorities])),
  timeoutMs: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_TIMEOUT_MS })),
  explain: Type.Optional(Type.Boolean()),
});

const parseBody = parser(Body, { code: 'ERR_REQUEST', strict: true });
const headerName = new RegExp(HeaderName);
const headerValue = new RegExp(HeaderValue);

/** The body of `POST /v1/downloads`; throws ERR_REQUEST naming the field that is wrong. */
export function parseDownloadRequest(value: unknown): DownloadRequest {
  const request = parseBody(value);
  checkHeaders(request.headers ?? {});
  const { start = 0, end } = request.range ?? {};
  if (end !== undefined && end <= start) throw wrong('/range/end', 'not after the start');
  return request;
}

// By hand: as a pattern of keys the schema would say that some key is not known, and not which rule it breaks.
function checkHeaders(headers: Readonly<Record<string, string>>): void {
  const entries = Object.entries(headers);
  if (entries.length > MAX_HEADERS) throw wrong('/headers', `more than ${MAX_HEADERS}`);
  for (const [name, value] of entries) {
    if (!headerName.test(name)) throw wrong('/headers', 'a name that is not one of a header');
    if (headerValue.test(value)) continue;
    throw wrong(`/headers/${name}`, 'holds a control or non-Latin character');
  }
}

function wrong(path: string, text: string): CodedError {
  return new CodedError('ERR_REQUEST', `${path}: ${text}`, { detail: { path } });
}
