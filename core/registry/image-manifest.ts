import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../base/error.ts';
import { parser } from '../wire/parse-message.ts';
import { isImageDigest } from './image-reference.ts';
import type { RawManifest } from './registry-client.ts';

const Annotations = Type.Record(Type.String(), Type.String({ maxLength: 4_096 }));
const Descriptor = Type.Object({
  mediaType: Type.Optional(Type.String({ maxLength: 256 })),
  digest: Type.String({ maxLength: 200 }),
  size: Type.Optional(Type.Integer({ minimum: 0 })),
  urls: Type.Optional(Type.Array(Type.String({ maxLength: 8192 }), { maxItems: 16 })),
  annotations: Type.Optional(Type.Unknown()),
});
const Platform = Type.Object({
  os: Type.Optional(Type.String({ maxLength: 64 })),
  architecture: Type.Optional(Type.String({ maxLength: 64 })),
  variant: Type.Optional(Type.String({ maxLength: 64 })),
});
const Index = Type.Object({
  manifests: Type.Array(
    Type.Object({ ...Descriptor.properties, platform: Type.Optional(Platform) }),
    { maxItems: 256 },
  ),
});
const Manifest = Type.Object({
  config: Descriptor,
  layers: Type.Array(Descriptor, { maxItems: 2_048 }),
});

/** What a manifest says of one blob or other manifest. */
export type Descriptor = Static<typeof Descriptor>;
/** What an image is for. */
export type Platform = Static<typeof Platform>;
/** A manifest, read. */
export type ReadManifest =
  | ({ readonly kind: 'image' } & Static<typeof Manifest>)
  | ({ readonly kind: 'index' } & Static<typeof Index>);

const parseIndex = parser(Index, { code: 'ERR_ORIGIN_FAILING' });
const parseManifest = parser(Manifest, { code: 'ERR_ORIGIN_FAILING' });
const parseAnnotations = parser(Annotations, { code: 'ERR_ORIGIN_FAILING' });

/** Reads what a registry sent; throws ERR_ORIGIN_FAILING naming the field that is wrong. */
export function readManifest({ text, mediaType }: RawManifest): ReadManifest {
  const body = jsonOf(text);
  return isIndex(body, mediaType)
    ? { kind: 'index', ...parseIndex(body) }
    : { kind: 'image', ...parseManifest(body) };
}

/** Throws ERR_ORIGIN_FAILING for content that is named by no digest of ours. */
export function checkDescriptor({ digest }: Pick<Descriptor, 'digest'>): void {
  if (isImageDigest(digest)) return;
  throw new CodedError('ERR_ORIGIN_FAILING', 'the registry names content by an unknown digest');
}

/** What whoever pushed it wrote beside a blob; undefined where nothing has that name. */
export function annotationOf({ annotations }: Descriptor, name: string): string | undefined {
  return annotations === undefined ? undefined : parseAnnotations(annotations)[name];
}

function isIndex(body: unknown, mediaType: string): boolean {
  if (/(?:image\.index|manifest\.list)\.v\d\+json$/.test(mediaType)) return true;
  // Some servers send every manifest as plain JSON.
  return typeof body === 'object' && body !== null && 'manifests' in body;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CodedError('ERR_ORIGIN_FAILING', 'the manifest is no JSON', { cause });
  }
}
