import { stat } from 'node:fs/promises';
import { CodedError } from '../base/error.ts';
import { pathProblem, refusedEntry } from '../origin/folder/folder-entry.ts';
import type { FolderEntry, FolderFile } from '../origin/folder/folder-entry.ts';
import type { MeshSource } from '../origin/mesh-source.ts';
import type { KindCall, OriginKind } from '../origin/origin-kind.ts';
import { annotationOf, checkDescriptor, readManifest } from './image-manifest.ts';
import type { Descriptor, ReadManifest } from './image-manifest.ts';
import { isImageDigest, parseImage } from './image-reference.ts';
import type { ImageReference } from './image-reference.ts';
import type { Credentials } from './registry-auth.ts';
import { RegistryClient } from './registry-client.ts';
import type { RegistryParts } from './registry-client.ts';
import { readLogins } from './registry-logins.ts';

/** What the user said of registries. */
export interface RegistryWishes {
  /** A file that was named and has to be there. */
  readonly loginsPath?: string | undefined;
  /** One that may be there. */
  readonly defaultLoginsPath: string;
  readonly isPlainHttp: boolean;
}

/** How tools that push artifacts name their files. */
const TITLE = 'org.opencontainers.image.title';
/** Tokens may be as short-lived as a minute. */
const TOKEN_AGE_MS = 30_000;
/** An artifact's index may name an index; nobody nests them deeper. */
const MAX_DEPTH = 3;
const MAX_NAMED = 5;
const DOCKER_HUB = new Set(['docker.io', 'index.docker.io']);

/**
 * `oci`: artifacts in registries, `oci://HOST/REPOSITORY:TAG` or `@DIGEST`. The mesh is asked for a layer, which its
 * digest names, with the token that the registry gave this user for pulling from that repository.
 */
export class OciKind implements OriginKind {
  readonly #wishes: RegistryWishes;
  readonly #parts: RegistryParts & { readonly note: (text: string) => void };
  #client: RegistryClient | undefined;
  #authorizedMs = Number.NEGATIVE_INFINITY;

  constructor(
    wishes: RegistryWishes,
    parts: RegistryParts & { readonly note: (text: string) => void },
  ) {
    this.#wishes = wishes;
    this.#parts = parts;
  }

  async locate(url: string, call: KindCall): Promise<MeshSource> {
    const client = await this.#open(url, call);
    const { reference } = client.image;
    if (await isLayer(client, call)) return this.#source(client, reference);
    const [layer, ...others] = await this.#layers(client, reference, call);
    if (layer !== undefined && others.length === 0) return this.#source(client, layer.digest);
    const what = layer === undefined ? 'no layer' : `${others.length + 1} layers`;
    throw unfit(`the artifact has ${what}; fetch it with -r, or name a layer by @DIGEST`);
  }

  async *list(url: string, call: KindCall): AsyncGenerator<FolderEntry> {
    const client = await this.#open(url, call);
    if (await isLayer(client, call))
      throw unfit('a digest that is no manifest has nothing below it');
    for (const layer of await this.#layers(client, client.image.reference, call)) {
      const { digest, size } = layer;
      const path = annotationOf(layer, TITLE) ?? digest.replace(':', '-');
      const problem = pathProblem(path);
      if (problem === undefined) {
        yield { kind: 'file', path, location: digest, length: size, validators: { etag: digest } };
      } else yield refusedEntry(path, problem);
    }
  }

  async locateFile({ location }: FolderFile, call: KindCall): Promise<MeshSource> {
    const client = this.#client;
    if (client === undefined) throw new TypeError('a file of no listing');
    if (this.#parts.clock.monotonic() - this.#authorizedMs > TOKEN_AGE_MS) {
      await this.#authorize(client, call);
    }
    return this.#source(client, location);
  }

  async #open(url: string, call: KindCall): Promise<RegistryClient> {
    const image = parseOciUrl(url, this.#wishes);
    const client = new RegistryClient(image, await this.#credentials(image), this.#parts);
    await this.#authorize(client, call);
    this.#client = client;
    return client;
  }

  async #authorize(client: RegistryClient, call: KindCall): Promise<void> {
    await client.authorize(call);
    this.#authorizedMs = this.#parts.clock.monotonic();
  }

  /** The layers of a manifest, or of the only one that an index names. */
  async #layers(
    client: RegistryClient,
    reference: string,
    call: KindCall,
  ): Promise<readonly Descriptor[]> {
    let manifest = readManifest(await client.manifest(reference, call));
    for (let depth = 1; manifest.kind === 'index'; depth += 1) {
      if (depth > MAX_DEPTH) throw failing('the artifact has indexes in indexes');
      const only = onlyOf(manifest);
      checkDescriptor(only);
      manifest = readManifest(await client.manifest(only.digest, call));
    }
    for (const layer of manifest.layers) checkDescriptor(layer);
    return manifest.layers;
  }

  #source(client: RegistryClient, digest: string): MeshSource {
    const { authorization } = client;
    const headers = authorization === undefined ? {} : { authorization };
    return { url: client.blobUrl(digest), headers, digest };
  }

  async #credentials({ base, repository }: ImageReference): Promise<Credentials> {
    const { loginsPath, defaultLoginsPath } = this.#wishes;
    const path = loginsPath ?? defaultLoginsPath;
    if (loginsPath === undefined && !(await exists(path))) return undefined;
    try {
      return (await readLogins(path)).logins.find(new URL(base).host, repository);
    } catch (error) {
      if (loginsPath !== undefined) throw error;
      this.#parts.note(`${CodedError.from(error).message}; asking as everybody may`);
      return undefined;
    }
  }
}

/** Reads `oci://HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`; without either the tag is latest. Throws ERR_URL. */
export function parseOciUrl(
  text: string,
  { isPlainHttp }: Pick<RegistryWishes, 'isPlainHttp'>,
): ImageReference {
  const [, host = '', path = ''] = /^oci:\/\/([^/]+)\/([^?#]+)$/i.exec(text) ?? [];
  const [, repository = '', tag = 'latest', digest] =
    /^([^:@]+)(?::([^:@]+))?(?:@(.+))?$/.exec(path) ?? [];
  if (host === '' || repository === '') {
    throw wrong('expected oci://HOST[:PORT]/REPOSITORY:TAG or @DIGEST');
  }
  if (digest !== undefined && !isImageDigest(digest)) throw wrong('the digest is malformed');
  const registry = DOCKER_HUB.has(host.toLowerCase()) ? 'registry-1.docker.io' : host;
  const scheme = isPlainHttp ? 'http://' : '';
  try {
    // The address of the manifest: as an image `registry/name` would be something at Docker Hub.
    return parseImage(`${scheme}${registry}/v2/${repository}/manifests/${digest ?? tag}`);
  } catch (error) {
    throw wrong(CodedError.from(error).message.replace(/^image: /, ''));
  }
}

function onlyOf(index: Extract<ReadManifest, { kind: 'index' }>): Descriptor {
  const wanted = index.manifests.filter(({ platform }) => platform?.os !== 'unknown');
  const [only, ...others] = wanted;
  if (only !== undefined && others.length === 0) return only;
  const named = wanted
    .slice(0, MAX_NAMED)
    .map(
      ({ digest, platform }) => `${digest} ${platform?.os ?? ''}/${platform?.architecture ?? ''}`,
    )
    .join(', ');
  throw unfit(`the artifact has ${wanted.length} variants; name one by @DIGEST: ${named}`);
}

/** A digest may be that of a layer. */
async function isLayer(client: RegistryClient, call: KindCall): Promise<boolean> {
  const { reference } = client.image;
  return isImageDigest(reference) && !(await client.hasManifest(reference, call));
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function wrong(what: string): CodedError {
  return new CodedError('ERR_URL', `oci: ${what}`);
}

function unfit(what: string): CodedError {
  return new CodedError('ERR_USAGE', `oci: ${what}`);
}

function failing(what: string): CodedError {
  return new CodedError('ERR_ORIGIN_FAILING', what);
}
