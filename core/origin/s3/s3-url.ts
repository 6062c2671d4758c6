import { CodedError } from '../../base/error.ts';
import { encodeRfc3986 } from './presign.ts';

/** `s3://BUCKET/KEY`. */
export interface S3Url {
  readonly bucket: string;
  /** As it is, not encoded; empty for the whole bucket. */
  readonly key: string;
  readonly versionId?: string | undefined;
}

/** Where buckets are. */
export interface S3Place {
  /** Of a server other than Amazon's. */
  readonly endpoint?: string | undefined;
  readonly region: string;
  /** `path`: the bucket is in the path; `virtual`: in the host name. Absent: as the endpoint suggests. */
  readonly addressing?: 'path' | 'virtual' | undefined;
}

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const REGION = /^[a-z0-9][a-z0-9-]{0,62}$/;
const MAX_KEY_BYTES = 1_024;

/**
 * Reads `s3://BUCKET/KEY`. Keys are taken as they are written, not decoded; `?versionId=ID` at the end names a version.
 * Throws ERR_URL.
 */
export function parseS3Url(text: string): S3Url {
  const [, bucket = '', rest = ''] = /^s3:\/\/([^/]*)(?:\/(.*))?$/is.exec(text) ?? [];
  if (!BUCKET.test(bucket) || bucket.includes('..')) throw wrong('the bucket is malformed');
  const [, key = '', versionId] = /^(.*?)(?:\?versionId=([\w.+/=-]{1,1024}))?$/s.exec(rest) ?? [];
  if (Buffer.byteLength(key) > MAX_KEY_BYTES || !key.isWellFormed()) {
    throw wrong('the key is too long or not Unicode');
  }
  return versionId === undefined ? { bucket, key } : { bucket, key, versionId };
}

/** Whether the key can be asked for by a URL: `.` and `..` in it would be taken for steps of a path. Throws ERR_URL. */
export function requireFetchable(key: string): void {
  if (key === '') throw wrong('a key is needed: s3://BUCKET/KEY');
  const hasSteps = key.split('/').some((name) => name === '.' || name === '..');
  if (hasSteps || /\p{Cc}/u.test(key)) {
    throw wrong('keys with . or .. as a name, or with control characters, cannot be asked for');
  }
}

/** The https (or http) address of a key, not signed; without a key that of the bucket. */
export function addressOf({ bucket, key, versionId }: S3Url, place: S3Place): URL {
  const { base, isVirtual } = baseOf(bucket, place);
  const path = key.split('/').map(encodeRfc3986).join('/');
  base.pathname = isVirtual ? `/${path}` : `${base.pathname.replace(/\/$/, '')}/${bucket}/${path}`;
  if (versionId !== undefined) base.search = `?versionId=${encodeRfc3986(versionId)}`;
  return base;
}

function baseOf(bucket: string, place: S3Place): { base: URL; isVirtual: boolean } {
  const { endpoint, region, addressing } = place;
  if (!REGION.test(region)) throw new CodedError('ERR_CONFIG', 'the region of S3 is malformed');
  if (endpoint === undefined) {
    // A dot in the bucket would not fit the certificate.
    const isVirtual = addressing === undefined ? !bucket.includes('.') : addressing === 'virtual';
    const domain = region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com';
    const host = `s3.${region}.${domain}`;
    return { base: new URL(`https://${isVirtual ? `${bucket}.` : ''}${host}/`), isVirtual };
  }
  const base = URL.parse(endpoint);
  const isHttp = base?.protocol === 'http:' || base?.protocol === 'https:';
  if (base === null || !isHttp || base.username !== '' || base.search !== '') {
    throw new CodedError('ERR_CONFIG', 'the endpoint of S3 is not a plain http(s) URL');
  }
  const isVirtual = addressing === 'virtual';
  if (isVirtual) base.hostname = `${bucket}.${base.hostname}`;
  return { base, isVirtual };
}

function wrong(what: string): CodedError {
  return new CodedError('ERR_URL', `s3: ${what}`);
}
