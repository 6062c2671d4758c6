import { createHash, createHmac } from 'node:crypto';

/** Who signs. Never logged, never sent: only what is signed with it leaves this process. */
export interface S3Credentials {
  readonly accessKey: string;
  readonly secretKey: string;
  /** Of temporary credentials; travels with what they sign. */
  readonly sessionToken?: string | undefined;
}

/** What a signature holds for. */
export interface SignedUse {
  readonly credentials: S3Credentials;
  readonly region: string;
  /** Wall time that the signature is made at, in milliseconds. */
  readonly atMs: number;
  readonly validSeconds: number;
  /** Headers that the request will have and S3 wants signed (`x-amz-…`). */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** Query parameters of a signature: they do not change the content, and none of them counts for the task. */
export const SIGNATURE_PARAMS: readonly string[] = [
  'X-Amz-Algorithm',
  'X-Amz-Credential',
  'X-Amz-Date',
  'X-Amz-Expires',
  'X-Amz-Security-Token',
  'X-Amz-Signature',
  'X-Amz-SignedHeaders',
];

const ALGORITHM = 'AWS4-HMAC-SHA256';

/**
 * `url` with a query that lets whoever has it GET that one object until the signature is over (AWS Signature Version 4,
 * "query parameters"). Ranges and conditions are not part of it: they may be asked for as wanted.
 */
export function presignedGet(url: URL, use: SignedUse): string {
  const { credentials, region, atMs, validSeconds } = use;
  const time = new Date(atMs).toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const scope = `${time.slice(0, 8)}/${region}/s3/aws4_request`;
  const headers = signedHeaders(url, use.headers ?? {});
  const names = headers.map(([name]) => name).join(';');
  const params: [string, string][] = [
    ...url.searchParams.entries(),
    ['X-Amz-Algorithm', ALGORITHM],
    ['X-Amz-Credential', `${credentials.accessKey}/${scope}`],
    ['X-Amz-Date', time],
    ['X-Amz-Expires', String(validSeconds)],
    ['X-Amz-SignedHeaders', names],
  ];
  if (credentials.sessionToken !== undefined) {
    params.push(['X-Amz-Security-Token', credentials.sessionToken]);
  }
  const query = params
    .map(([name, value]) => `${encodeRfc3986(name)}=${encodeRfc3986(value)}`)
    .toSorted(byCodeUnits)
    .join('&');
  const canonical = [
    'GET',
    url.pathname,
    query,
    ...headers.map(([name, value]) => `${name}:${value}`),
    '',
    names,
    'UNSIGNED-PAYLOAD',
  ].join('\n');
  const text = [ALGORITHM, time, scope, sha256(canonical)].join('\n');
  const signature = hmac(signingKey(credentials.secretKey, scope), text).toString('hex');
  return `${url.origin}${url.pathname}?${query}&X-Amz-Signature=${signature}`;
}

/** As `encodeURIComponent`, and the five characters that it leaves. */
export function encodeRfc3986(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function signedHeaders(
  url: URL,
  headers: Readonly<Record<string, string>>,
): (readonly [string, string])[] {
  const own = Object.entries(headers).map(
    ([name, value]) => [name.toLowerCase(), value.trim().replaceAll(/ +/g, ' ')] as const,
  );
  return [['host', url.host] as const, ...own].toSorted(([a], [b]) => byCodeUnits(a, b));
}

function signingKey(secretKey: string, scope: string): Buffer {
  const parts = scope.split('/');
  let key: Buffer = Buffer.from(`AWS4${secretKey}`);
  for (const part of parts) key = hmac(key, part);
  return key;
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function byCodeUnits(left: string, right: string): number {
  return left < right ? -1 : Number(left > right);
}
