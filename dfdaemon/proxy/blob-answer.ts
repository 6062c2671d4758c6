import { randomBytes } from 'node:crypto';
import { judgeRange, isRangeOf, matchesEtag } from './blob-range.ts';
import type { ContentPart } from './blob-range.ts';

/** What is asked of content, in the headers of a request. */
export interface PartAsk {
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  readonly ifNoneMatch: string | undefined;
}

/** An answer about content: its head, and what its body is made of in order. */
export interface BlobAnswer {
  readonly status: 200 | 206 | 304 | 416;
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes of the content, and the words between them. */
  readonly body: readonly (ContentPart | { readonly text: string })[];
}

const TYPE = 'application/octet-stream';

/** The answer to a request for content named by `digest`, of `length` bytes or, undefined, of unknown length. */
export function planBlobAnswer(
  ask: PartAsk,
  blob: { readonly digest: string; readonly length: number | undefined },
): BlobAnswer {
  const { digest, length } = blob;
  const etag = `"${digest}"`;
  const common = { etag, 'docker-content-digest': digest, 'accept-ranges': 'bytes' };
  if (matchesEtag(ask.ifNoneMatch, etag)) return { status: 304, headers: common, body: [] };
  if (length === undefined) {
    const body = [{ start: 0, end: Number.POSITIVE_INFINITY }];
    return { status: 200, headers: { ...common, 'content-type': TYPE }, body };
  }
  const verdict = judgeRange(isRangeOf(ask.ifRange, etag) ? ask.range : undefined, length);
  switch (verdict.kind) {
    case 'whole': {
      const headers = { ...common, 'content-type': TYPE, 'content-length': `${length}` };
      return { status: 200, headers, body: length === 0 ? [] : [{ start: 0, end: length }] };
    }
    case 'outside': {
      const headers = { 'content-range': `bytes */${length}`, 'content-length': '0' };
      return { status: 416, headers: { ...common, ...headers }, body: [] };
    }
    case 'parts': {
      const [part] = verdict.parts;
      if (verdict.parts.length > 1) return multipart(verdict.parts, { common, length });
      const headers = {
        'content-type': TYPE,
        'content-range': contentRange(part, length),
        'content-length': `${part.end - part.start}`,
      };
      return { status: 206, headers: { ...common, ...headers }, body: [part] };
    }
  }
}

function multipart(
  parts: readonly ContentPart[],
  of: { readonly common: Readonly<Record<string, string>>; readonly length: number },
): BlobAnswer {
  const boundary = randomBytes(16).toString('hex');
  const body: (ContentPart | { readonly text: string })[] = [];
  let bytes = 0;
  const say = (text: string): void => {
    bytes += text.length;
    body.push({ text });
  };
  for (const [at, part] of parts.entries()) {
    const range = contentRange(part, of.length);
    const head = `--${boundary}\r\nContent-Type: ${TYPE}\r\nContent-Range: ${range}\r\n\r\n`;
    say(at === 0 ? head : `\r\n${head}`);
    body.push(part);
    bytes += part.end - part.start;
  }
  say(`\r\n--${boundary}--\r\n`);
  const headers = {
    'content-type': `multipart/byteranges; boundary=${boundary}`,
    'content-length': `${bytes}`,
  };
  return { status: 206, headers: { ...of.common, ...headers }, body };
}

function contentRange({ start, end }: ContentPart, length: number): string {
  return `bytes ${start}-${end - 1}/${length}`;
}
