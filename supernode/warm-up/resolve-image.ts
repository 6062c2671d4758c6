import { CodedError } from '../../core/base/error.ts';
import { checkDescriptor, readManifest } from '../../core/registry/image-manifest.ts';
import type { Descriptor, Platform } from '../../core/registry/image-manifest.ts';
import { parseImage } from '../../core/registry/image-reference.ts';
import { RegistryClient } from '../../core/registry/registry-client.ts';
import type { RegistryParts } from '../../core/registry/registry-client.ts';
import type { Credentials } from '../../core/registry/registry-auth.ts';
import type { WarmTask } from './warm-up-job.ts';
import type { ResolvedImage } from './warm-ups.ts';

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
    const raw = await this.#registry.manifest(reference, { signal: this.#signal });
    const manifest = readManifest(raw);
    if (manifest.kind === 'image') {
      for (const descriptor of [manifest.config, ...manifest.layers]) this.#add(descriptor);
      return;
    }
    const wanted = manifest.manifests.filter(({ platform }) => this.#isWanted(platform));
    for (const descriptor of wanted) {
      checkDescriptor(descriptor);
      await this.visit(descriptor.digest, depth + 1);
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
    checkDescriptor(descriptor);
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
