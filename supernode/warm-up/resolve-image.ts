import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { isImageDigest, parseImage } from '../../core/registry/image-reference.ts';
import { RegistryClient } from './registry-client.ts';
import type { RegistryParts } from './registry-client.ts';
import type { Credentials } from '../../core/registry/registry-auth.ts';
import type { WarmTask } from './warm-up-job.ts';
import type { ResolvedImage } from './warm-ups.ts';

const Descriptor = Type.Object({
  mediaType: Type.Optional(Type.String({ maxLength: 256 })),
  digest: Type.String({ maxLength: 200 }),
  size: Type.Optional(Type.Integer({ minimum: 0 })),
  urls: Type.Optional(Type.Array(Type.String({ maxLength: 8192 }), { maxItems: 16 })),
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
type Descriptor = Static<typeof Descriptor>;
type Platform = Static<typeof Platform>;

const parseIndex = parser(Index, { code: 'ERR_ORIGIN_FAILING' });
const parseManifest = parser(Manifest, { code: 'ERR_ORIGIN_FAILING' });

/** An index may name indexes; nobody nests them deeper. */
const MAX_DEPTH = 3;
const MAX_MANIFESTS = 256;
const MAX_BLOBS = 4_096;

/** Which image, of which platforms, pulled as whom. */
export interface ImageWish {
  readonly image: string;
  /** None: all. */
  readonly platforms: readonly string[];
  readonly credentials: Credentials;
}

/**
 * Finds out from the registry which blobs an image is made of: configs and layers of every wanted platform, each once.
 * Throws what the registry refuses or fails with, ERR_NOT_FOUND when no platform fits.
 */
export async function resolveImage(
  wish: ImageWish,
  parts: RegistryParts,
  options: { readonly signal: AbortSignal },
): Promise<ResolvedImage> {
  const image = parseImage(wish.image);
  const registry = new RegistryClient(image, wish.credentials, parts);
  await registry.authorize(options);
  const walk = new ImageWalk(registry, wish.platforms, options.signal);
  await walk.visit(image.reference, 1);
  if (walk.tasks.size === 0) {
    throw new CodedError('ERR_NOT_FOUND', `the image has no platform ${wish.platforms.join(', ')}`);
  }
  return {
    tasks: [...walk.tasks.values()],
    authorization: registry.authorization,
    renew: async ({ signal }) => {
      await registry.authorize({ signal });
      return registry.authorization;
    },
  };
}

class ImageWalk {
  /** By digest: layers are shared by platforms. */
  readonly tasks = new Map<string, WarmTask>();
  readonly #registry: RegistryClient;
  readonly #platforms: readonly string[];
  readonly #signal: AbortSignal;
  readonly #seen = new Set<string>();

  constructor(registry: RegistryClient, platforms: readonly string[], signal: AbortSignal) {
    this.#registry = registry;
    this.#platforms = platforms;
    this.#signal = signal;
  }

  async visit(reference: string, depth: number): Promise<void> {
    if (this.#seen.has(reference)) return;
    this.#seen.add(reference);
    if (depth > MAX_DEPTH || this.#seen.size > MAX_MANIFESTS) {
      throw new CodedError('ERR_ORIGIN_FAILING', 'the image has too many manifests');
    }
    const { text, mediaType } = await this.#registry.manifest(reference, { signal: this.#signal });
    const body = jsonOf(text);
    if (!isIndex(body, mediaType)) {
      const { config, layers } = parseManifest(body);
      for (const descriptor of [config, ...layers]) this.#add(descriptor);
      return;
    }
    const wanted = parseIndex(body).manifests.filter(({ platform }) => this.#isWanted(platform));
    for (const { digest } of wanted) {
      checkDigest(digest);
      await this.visit(digest, depth + 1);
    }
  }

  #isWanted(platform: Platform | undefined): boolean {
    // Attestations say so of themselves; nobody pulls them.
    if (platform?.os === 'unknown') return false;
    if (this.#platforms.length === 0 || platform === undefined) return true;
    return this.#platforms.some((wish) => fits(platform, wish));
  }

  #add(descriptor: Descriptor): void {
    const { digest, size, urls: [foreign] = [] } = descriptor;
    checkDigest(digest);
    if (this.tasks.has(digest)) return;
    if (this.tasks.size >= MAX_BLOBS) {
      throw new CodedError('ERR_ORIGIN_FAILING', 'the image has too many layers');
    }
    // A foreign layer is not in the registry, and its credentials are none of that server's business.
    const url = foreign ?? this.#registry.blobUrl(digest);
    const isAuthorized = foreign === undefined;
    const known = size === undefined ? {} : { size };
    this.tasks.set(digest, { spec: { url, digest }, isAuthorized, ...known });
  }
}

/** `linux/arm` means any variant of it. */
function fits(platform: Platform, wish: string): boolean {
  const [os, architecture, variant] = wish.split('/');
  if (platform.os !== os || platform.architecture !== architecture) return false;
  return variant === undefined || platform.variant === variant;
}

function isIndex(body: unknown, mediaType: string): boolean {
  if (/(?:image\.index|manifest\.list)\.v\d\+json$/.test(mediaType)) return true;
  // Some servers send every manifest as plain JSON.
  return typeof body === 'object' && body !== null && 'manifests' in body;
}

function checkDigest(digest: string): void {
  if (isImageDigest(digest)) return;
  throw new CodedError('ERR_ORIGIN_FAILING', 'the registry names content by an unknown digest');
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CodedError('ERR_ORIGIN_FAILING', 'the manifest is no JSON', { cause });
  }
}
