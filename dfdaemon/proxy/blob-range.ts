/** A part `[start, end)` of content whose length is known. */
export interface ContentPart {
  readonly start: number;
  readonly end: number;
}

/** What a `Range` header comes to. */
export type RangeVerdict =
  /** No range was asked for, or one that may be answered with everything. */
  | { readonly kind: 'whole' }
  | { readonly kind: 'parts'; readonly parts: readonly [ContentPart, ...ContentPart[]] }
  | { readonly kind: 'outside' };

/** Clients that read a layer in parts ask for up to 1,024 of them at once. */
const MAX_PARTS = 1024;
const WHOLE: RangeVerdict = { kind: 'whole' };
const OUTSIDE: RangeVerdict = { kind: 'outside' };

/** Judges a `Range` header for content of `length` bytes as the registries do: malformed ranges lie outside, other units are ignored. */
export function judgeRange(header: string | undefined, length: number): RangeVerdict {
  if (header === undefined || length === 0) return WHOLE;
  const [, unit, specs = ''] = /^\s*([^=\s]+)\s*=(.*)$/.exec(header) ?? [];
  if (unit?.toLowerCase() !== 'bytes') return WHOLE;
  const texts = specs.split(',').map((text) => text.trim());
  if (texts.length > MAX_PARTS) return WHOLE;
  const parts: ContentPart[] = [];
  for (const text of texts) {
    const part = partOf(text, length);
    if (part === 'malformed') return OUTSIDE;
    if (part !== 'outside') parts.push(part);
  }
  const [first, ...rest] = parts;
  if (first === undefined) return OUTSIDE;
  // Parts that overlap may ask for the content many times over: once is enough.
  const bytes = parts.reduce((sum, { start, end }) => sum + end - start, 0);
  if (bytes > length) return WHOLE;
  return { kind: 'parts', parts: [first, ...rest] };
}

/** The byte that an answer to a `Range` header begins with, where that can be told without the length of the content. */
export function startOfRange(header: string | undefined): number | undefined {
  const [, first] = /^\s*bytes\s*=\s*(\d{1,15})-/i.exec(header ?? '') ?? [];
  return first === undefined ? undefined : Number(first);
}

/** True when a range may be answered with a part: the validator that came with it, if any, is the content's own. */
export function isRangeOf(ifRange: string | undefined, etag: string): boolean {
  return ifRange === undefined || ifRange.trim() === etag;
}

/** True when one of the entity tags is the content's. */
export function matchesEtag(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  const tags = ifNoneMatch.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  return tags.includes('*') || tags.includes(etag);
}

function partOf(text: string, length: number): ContentPart | 'outside' | 'malformed' {
  const [, first, last] = /^(\d{0,15})-(\d{0,15})$/.exec(text) ?? [];
  if (first === undefined || last === undefined || (first === '' && last === '')) {
    return 'malformed';
  }
  if (first === '') {
    const suffix = Math.min(Number(last), length);
    return suffix === 0 ? 'outside' : { start: length - suffix, end: length };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return 'malformed';
  if (start >= length) return 'outside';
  return { start, end: last === '' ? length : Math.min(Number(last) + 1, length) };
}
