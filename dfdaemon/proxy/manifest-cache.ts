import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';

/** A manifest or index, as the registry sent it. */
export interface Manifest {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
}

/** The longest that is kept, and read whole to be verified; registries take no longer ones. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
const CACHE_BYTES = 32 * 1024 * 1024;
/** What an entry costs besides its bytes. */
const ENTRY_BYTES = 1024;

/** Manifests by where they were served and their digest: what one registry served says nothing of another. */
export class ManifestCache {
  readonly #manifests = new LRUCache<string, Manifest>({
    maxSize: CACHE_BYTES,
    sizeCalculation: ({ bytes }) => bytes.length + ENTRY_BYTES,
  });

  /** `url` is that of the manifest by its digest. */
  get(url: string): Manifest | undefined {
    return this.#manifests.get(url);
  }

  put(url: string, manifest: Manifest): void {
    this.#manifests.set(url, manifest);
  }
}

/** True for a digest by which content can be verified here. */
export function isDigest(reference: string): boolean {
  return /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(reference);
}

/** True when the bytes have the digest. */
export function hasDigest(bytes: Uint8Array, digest: string): boolean {
  const [algorithm = '', hex] = digest.split(':');
  return createHash(algorithm).update(bytes).digest('hex') === hex;
}

/** True when a request with this `Accept` takes the media type; of who names none, registries decide what he gets. */
export function accepts(accept: string | undefined, mediaType: string): boolean {
  if (accept === undefined) return false;
  const type = bareType(mediaType);
  const ranges = accept.split(',').map(bareType);
  return ranges.some((range) => {
    if (range === '*/*' || range === type) return true;
    return range.endsWith('/*') && type.startsWith(range.slice(0, -1));
  });
}

function bareType(text: string): string {
  return text.split(';', 1)[0]?.trim().toLowerCase() ?? '';
}
