import { hasStrongEtag } from '../piece/version.ts';
import type { Validators } from '../piece/version.ts';

/** A version that a continuation must be of: validators, and the whole length where it is known. */
export interface ExpectedVersion extends Validators {
  readonly length?: number | undefined;
}

/**
 * The validators by which a later request can be tied to exactly these bytes, if there are any: a strong
 * ETag, or a Last-Modified that lies at least one second before the answer (RFC 9110 §8.8.2.2; a younger
 * one would not show a second change within its second).
 */
export function strongValidators(
  head: Validators & { readonly date?: string | undefined },
): Validators | undefined {
  const { etag, lastModified } = head;
  if (hasStrongEtag(head)) return { etag, lastModified };
  const ageMs = Date.parse(head.date ?? '') - Date.parse(lastModified ?? '');
  return ageMs >= 1000 ? { etag, lastModified } : undefined;
}

/** Whether an answer is of the expected version; `unknown` when it does not say enough. */
export function compareVersions(
  expected: ExpectedVersion,
  actual: ExpectedVersion,
): 'same' | 'changed' | 'unknown' {
  if (differ(expected.length, actual.length)) return 'changed';
  if (differ(expected.etag, actual.etag)) return 'changed';
  if (hasStrongEtag(expected) && expected.etag === actual.etag) return 'same';
  if (differ(expected.lastModified, actual.lastModified)) return 'changed';
  const isDated = expected.lastModified !== undefined && actual.lastModified !== undefined;
  return isDated && !hasStrongEtag(expected) ? 'same' : 'unknown';
}

/** Headers that make the origin answer 304 when nothing changed. */
export function revalidationHeaders(known: Validators): Record<string, string> {
  if (known.etag !== undefined) return { 'if-none-match': known.etag };
  return known.lastModified === undefined ? {} : { 'if-modified-since': known.lastModified };
}

/** Headers that make the origin refuse (412) or send everything (200) when it has another version by now. */
export function continuationHeaders(
  expected: Validators,
  options: { readonly isRanged: boolean },
): Record<string, string> {
  const { etag, lastModified } = expected;
  if (etag !== undefined && hasStrongEtag(expected)) return { 'if-match': etag };
  if (lastModified === undefined) return {};
  return options.isRanged ? { 'if-range': lastModified } : { 'if-unmodified-since': lastModified };
}

function differ<T>(left: T | undefined, right: T | undefined): boolean {
  return left !== undefined && right !== undefined && left !== right;
}
