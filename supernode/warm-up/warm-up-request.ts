import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { priorities } from '../../core/base/priority.ts';
import { parseOriginUrl, withoutSecrets } from '../../core/piece/task-id.ts';
import { parseImage } from '../../core/registry/image-reference.ts';
import { parseTarget } from './target.ts';

const Url = Type.String({ minLength: 1, maxLength: 8192 });

/** Body of `POST /api/v1/warm-ups`: an image, or URLs, and where to bring them. */
export const WarmUpRequest = Type.Object({
  image: Type.Optional(Type.String({ minLength: 1, maxLength: 1024 })),
  /** `os/architecture[/variant]`; none: every platform of the image. */
  platforms: Type.Optional(Type.Array(Type.String({ maxLength: 64 }), { maxItems: 16 })),
  /** For the registry of the image; kept in memory only. */
  credentials: Type.Optional(
    Type.Union([
      Type.Object({
        username: Type.String({ maxLength: 1024 }),
        password: Type.String({ maxLength: 8192 }),
      }),
      Type.Object({ token: Type.String({ minLength: 1, maxLength: 16_384 }) }),
    ]),
  ),
  url: Type.Optional(Url),
  urls: Type.Optional(Type.Array(Url, { minItems: 1, maxItems: 256 })),
  /** For the origins of the URLs; kept in memory only. */
  headers: Type.Optional(
    Type.Record(Type.String({ minLength: 1, maxLength: 128 }), Type.String({ maxLength: 8192 })),
  ),
  tag: Type.Optional(Type.String({ maxLength: 1024 })),
  application: Type.Optional(Type.String({ maxLength: 1024 })),
  filteredQueryParams: Type.Optional(Type.Array(Type.String({ maxLength: 256 }), { maxItems: 64 })),
  /** Of the content of a single URL. */
  digest: Type.Optional(
    Type.String({
      pattern:
        '^(?:md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}|crc32:[0-9a-f]{8})$',
    }),
  ),
  to: Type.String({ minLength: 1, maxLength: 80 }),
  /** What its downloads are among others; default warm-up. */
  priority: Type.Optional(Type.Enum([...priorities])),
  timeoutMs: Type.Optional(Type.Integer({ minimum: 1, maximum: 86_400_000 })),
});
export type WarmUpRequest = Static<typeof WarmUpRequest>;

const PLATFORM = /^[a-z0-9]+\/[a-z0-9_]+(?:\/[a-z0-9.]+)?$/;

/** The URLs of a request that names no image. */
export function urlsOf({ url, urls = [] }: WarmUpRequest): string[] {
  return url === undefined ? urls : [url, ...urls];
}

/** Throws ERR_REQUEST, ERR_URL naming the field when what a request says does not go together. */
export function checkRequest(request: WarmUpRequest): void {
  const { image, platforms = [], credentials, headers, digest, tag, application } = request;
  parseTarget(request.to, 'to');
  const urls = urlsOf(request);
  if ((image === undefined) === (urls.length === 0)) {
    throw wrong('image', 'expected either an image or URLs');
  }
  if (image === undefined) {
    if (platforms.length > 0) throw wrong('platforms', 'is for an image');
    if (credentials !== undefined) throw wrong('credentials', 'is for an image; use headers');
    if (digest !== undefined && urls.length > 1) throw wrong('digest', 'is for a single URL');
    for (const url of urls) parseOriginUrl(url);
    return;
  }
  if (headers !== undefined) throw wrong('headers', 'is for URLs; use credentials');
  if (digest !== undefined) throw wrong('digest', 'is for a URL; write it after the image as @…');
  if (tag !== undefined) throw wrong('tag', 'is for URLs');
  if (application !== undefined) throw wrong('application', 'is for URLs');
  const bad = platforms.find((platform) => !PLATFORM.test(platform));
  if (bad !== undefined) throw wrong('platforms', 'expected OS/ARCHITECTURE[/VARIANT]');
  parseImage(image);
}

/** True when nothing in it may be a secret, so that it may be kept on disk and begun again. */
export function isKeepable(request: WarmUpRequest): boolean {
  if (request.credentials !== undefined || request.headers !== undefined) return false;
  return [...urlsOf(request)].every((url) => withoutSecrets(url) === new URL(url).href);
}

function wrong(path: string, text: string): CodedError {
  return new CodedError('ERR_REQUEST', `${path}: ${text}`, { detail: { path } });
}
