import { Type } from 'typebox';
import type { Static } from 'typebox';
import { blobDigestPattern } from '../../core/base/blob-url.ts';
import { packageNamePattern, packageVersionPattern } from '../../core/base/package-name.ts';

export const PackageName = Type.String({ pattern: packageNamePattern });
export const PackageVersion = Type.String({ pattern: packageVersionPattern });
export const BlobDigest = Type.String({ pattern: blobDigestPattern });
/** In bytes. */
export const BlobLength = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

/** Somebody makes a version of a package known. */
export const PackagePublish = Type.Object({
  name: PackageName,
  version: PackageVersion,
  digest: BlobDigest,
  length: BlobLength,
  /** Where it is; absent: it was uploaded, and hosts get it as a blob. */
  url: Type.Optional(Type.String({ maxLength: 2048 })),
});
export type PackagePublish = Static<typeof PackagePublish>;

/** Which version of which package. */
export const PackageVersionOf = Type.Object({ name: PackageName, version: PackageVersion });

/** A version of a package; it never changes. */
export const PackageRecord = Type.Object({
  name: PackageName,
  version: PackageVersion,
  digest: BlobDigest,
  length: BlobLength,
  url: Type.String({ maxLength: 2048 }),
  /** Name of the principal. */
  publishedBy: Type.String(),
  /** In milliseconds since 1970. */
  at: Type.Number(),
});
export type PackageRecord = Static<typeof PackageRecord>;
