import { hash } from 'node:crypto';
import { randomHex } from '../base/random.ts';

/** How an origin tells one content from the next: `ETag` and `Last-Modified` as it sent them. */
export interface Validators {
  readonly etag?: string | undefined;
  readonly lastModified?: string | undefined;
}

/** Validators with no other fields and none undefined, as they travel and are stored. */
export function plainValidators(validators: Validators): { etag?: string; lastModified?: string } {
  const { etag, lastModified } = validators;
  return {
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { lastModified }),
  };
}

/**
 * The version (16 hex digits) of a content. Content named by a strong digest has one version for ever;
 * otherwise validators and length decide, so that hosts which ask the origin apart agree;
 * an origin that gives no validators gets a new version at every fetch.
 */
export function versionOf(content: {
  readonly digest?: string | undefined;
  readonly validators: Validators;
  readonly length: number | undefined;
}): string {
  const named = /^sha(?:256|512):([0-9a-f]{16})/.exec(content.digest ?? '');
  if (named?.[1] !== undefined) return named[1];
  const { etag, lastModified } = content.validators;
  if (etag === undefined && lastModified === undefined) return randomHex(8);
  const text = JSON.stringify([etag ?? null, lastModified ?? null, content.length ?? null]);
  return hash('sha256', text).slice(0, 16);
}

/** True when the validators let another request insist on the very same bytes (`If-Match`). */
export function hasStrongEtag(validators: Validators): boolean {
  return validators.etag !== undefined && !validators.etag.startsWith('W/');
}
