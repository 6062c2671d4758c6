import type { Clock } from '../../base/clock.ts';
import type { MeshSource } from '../mesh-source.ts';
import type { AwsSettings } from './aws-settings.ts';
import { SIGNATURE_PARAMS, presignedGet } from './presign.ts';
import { addressOf, requireFetchable } from './s3-url.ts';
import type { S3Url } from './s3-url.ts';

/**
 * Signatures are made as of the last quarter of an hour: who asks with the same credentials within it asks with the
 * very same URL, and the supernode need not ask the origin for each of a thousand hosts.
 */
const SIGNED_EVERY_MS = 15 * 60_000;
/** Long enough for the seed to bring a large object in, and to go on after a break. */
const VALID_SECONDS = 6 * 3_600;
/** One page of a listing is asked for at once. */
const LISTING_SECONDS = 30 * 60;

/** The objects of one bucket, as one user may ask for them. */
export class S3Objects {
  /** What goes along with each request. */
  readonly headers: Readonly<Record<string, string>>;
  readonly #bucket: string;
  readonly #settings: AwsSettings;
  readonly #clock: Clock;

  constructor(
    bucket: string,
    options: {
      readonly settings: AwsSettings;
      readonly headers: Readonly<Record<string, string>>;
      readonly clock: Clock;
    },
  ) {
    this.#bucket = bucket;
    this.#settings = options.settings;
    this.headers = options.headers;
    this.#clock = options.clock;
  }

  /** What the mesh is asked for: one object, by a signature that is good for reading it and nothing else. */
  source({ key, versionId }: Pick<S3Url, 'key' | 'versionId'>): MeshSource {
    requireFetchable(key);
    const address = addressOf({ bucket: this.#bucket, key, versionId }, this.#settings);
    const url = this.#signed(address, VALID_SECONDS);
    const headers = this.headers;
    if (this.#settings.credentials === undefined) return { url, headers };
    return { url, headers, filteredQueryParams: SIGNATURE_PARAMS };
  }

  /** The address of one page of the list of objects; `token` is that of the page before. */
  listingUrl(prefix: string, token: string | undefined): string {
    const url = addressOf({ bucket: this.#bucket, key: '' }, this.#settings);
    url.searchParams.set('list-type', '2');
    url.searchParams.set('prefix', prefix);
    if (token !== undefined) url.searchParams.set('continuation-token', token);
    return this.#signed(url, LISTING_SECONDS);
  }

  #signed(url: URL, validSeconds: number): string {
    const { credentials, region } = this.#settings;
    if (credentials === undefined) return url.href;
    const atMs = Math.floor(this.#clock.now() / SIGNED_EVERY_MS) * SIGNED_EVERY_MS;
    const headers = Object.fromEntries(
      Object.entries(this.headers).filter(([name]) => /^x-amz-/i.test(name)),
    );
    return presignedGet(url, { credentials, region, atMs, validSeconds, headers });
  }
}
