import { CodedError } from '../../base/error.ts';
import type { FolderEntry, FolderFile, FolderLimits } from '../folder/folder-entry.ts';
import type { ListingParts } from '../folder/http-folder.ts';
import type { MeshSource } from '../mesh-source.ts';
import type { KindCall, OriginKind } from '../origin-kind.ts';
import type { AwsSettings } from '../s3/aws-settings.ts';
import { listObjects } from '../s3/s3-listing.ts';
import { S3Objects } from '../s3/s3-objects.ts';
import { parseS3Url } from '../s3/s3-url.ts';

/** `s3`: the mesh is given URLs that are signed for one object each; what signs them stays here. */
export class S3Kind implements OriginKind {
  readonly #settings: AwsSettings;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #parts: ListingParts;
  #listed: S3Objects | undefined;

  constructor(
    options: {
      readonly settings: AwsSettings;
      readonly headers: Readonly<Record<string, string>>;
    },
    parts: ListingParts,
  ) {
    this.#settings = options.settings;
    this.#headers = options.headers;
    this.#parts = parts;
  }

  async locate(url: string): Promise<MeshSource> {
    const parsed = parseS3Url(url);
    return this.#objects(parsed.bucket).source(parsed);
  }

  list(
    url: string,
    { limits, signal }: KindCall & { readonly limits: FolderLimits },
  ): AsyncIterable<FolderEntry> {
    const { bucket, key, versionId } = parseS3Url(url);
    if (versionId !== undefined) {
      throw new CodedError('ERR_URL', 's3: a version is of one object, not of a folder');
    }
    const prefix = key === '' || key.endsWith('/') ? key : `${key}/`;
    const objects = this.#objects(bucket);
    this.#listed = objects;
    return listObjects(objects, { prefix, parts: this.#parts, limits, signal });
  }

  async locateFile({ location }: FolderFile): Promise<MeshSource> {
    if (this.#listed === undefined) throw new TypeError('a file of no listing');
    return this.#listed.source({ key: location });
  }

  #objects(bucket: string): S3Objects {
    const { clock } = this.#parts;
    return new S3Objects(bucket, { settings: this.#settings, headers: this.#headers, clock });
  }
}
