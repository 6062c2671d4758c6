/** The host name of blobs. `.invalid` never resolves (RFC 2606): only a supernode knows where it leads. */
export const blobHost = 'blobs.odonata.invalid';

/** The digest by which a blob is known. */
export const blobDigestPattern = '^sha256:[0-9a-f]{64}$';

const DIGEST = new RegExp(blobDigestPattern);

/** Where hosts fetch the blob of this digest, `sha256:HEX`, through the mesh. */
export function blobUrl(digest: string): string {
  if (!isBlobDigest(digest)) throw new RangeError('not the digest of a blob');
  return `http://${blobHost}/${digest}`;
}

/** True for a URL that only a supernode can go to itself, whatever it is after the host name. */
export function isBlobUrl(url: URL): boolean {
  return url.hostname.replace(/\.$/, '') === blobHost;
}

/** Whether a text is `sha256:HEX` in lower case. */
export function isBlobDigest(text: string): boolean {
  return DIGEST.test(text);
}
