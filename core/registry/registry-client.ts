import { createHash } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { OriginConnections } from '../origin/origin-connections.ts';
import { openOrigin, waitToRetry } from '../origin/origin.ts';
import type { OriginOptions } from '../origin/origin.ts';
import { headerOf } from '../origin/response-head.ts';
import { isImageDigest } from './image-reference.ts';
import type { ImageReference } from './image-reference.ts';
import { answerChallenge, parseChallenge } from './registry-auth.ts';
import type { Credentials } from './registry-auth.ts';

/** What registries are spoken to with; the guard is in the connections. */
export interface RegistryParts {
  readonly connections: OriginConnections;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** A manifest as the registry sent it. */
export interface RawManifest {
  readonly text: string;
  /** Of the Content-Type header, without parameters. */
  readonly mediaType: string;
}

/** What docker and containerd say they understand. */
const ACCEPT = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');
/** As registries bound it themselves. */
const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
/** Hosts take no longer header in an order. */
const MAX_AUTHORIZATION = 8_192;
/** A registry that does not answer is asked again for this long; a job is not held up for ever. */
const LIMITS = { maxAttempts: 4, retryTotalMs: 60_000 };

/** The pull side of one repository of one registry, for one set of credentials. */
export class RegistryClient {
  readonly image: ImageReference;
  readonly #parts: RegistryParts;
  readonly #credentials: Credentials;
  #authorization: string | undefined;

  constructor(image: ImageReference, credentials: Credentials, parts: RegistryParts) {
    this.image = image;
    this.#credentials = credentials;
    this.#parts = parts;
  }

  /** The header that the registry wants; undefined where it wants none. */
  get authorization(): string | undefined {
    return this.#authorization;
  }

  /** Asks the registry how it wants to be asked, and does what it says: for a first time or another token. */
  async authorize({ signal }: { signal: AbortSignal }): Promise<void> {
    const header = await this.#challenge(signal);
    if (header === undefined) return;
    const challenge = parseChallenge(header);
    if (challenge === undefined) {
      throw new CodedError('ERR_ORIGIN_REFUSED', `${this.image.base} wants what we do not know`, {
        detail: { status: 401 },
      });
    }
    const about = {
      image: this.image,
      credentials: this.#credentials,
      ask: async (url: string, headers: Readonly<Record<string, string>>) =>
        (await this.#get(url, headers, signal)).text,
    };
    const { authorization } = await answerChallenge(challenge, about, { signal });
    if (authorization.length > MAX_AUTHORIZATION) {
      throw new CodedError('ERR_ORIGIN_FAILING', 'the token or password is too long to be sent on');
    }
    this.#authorization = authorization;
  }

  /** The manifest of a tag or digest; ERR_DIGEST_MISMATCH when it is not what its digest says. */
  async manifest(reference: string, { signal }: { signal: AbortSignal }): Promise<RawManifest> {
    const auth = this.#authorization;
    const headers = { accept: ACCEPT, ...(auth === undefined ? {} : { authorization: auth }) };
    const manifest = await this.#get(this.#manifestUrl(reference), headers, signal);
    if (isImageDigest(reference)) checkDigest(reference, manifest.text);
    return manifest;
  }

  /** Whether a digest is that of a manifest, as far as one question tells: of a layer's some registries answer 500. */
  async hasManifest(reference: string, { signal }: { signal: AbortSignal }): Promise<boolean> {
    const auth = this.#authorization;
    const headers = { accept: ACCEPT, ...(auth === undefined ? {} : { authorization: auth }) };
    const url = new URL(this.#manifestUrl(reference));
    const response = await this.#parts.connections.request({
      url,
      method: 'HEAD',
      headers,
      signal,
    });
    response.discard();
    return response.status === 200;
  }

  /** Where a blob is. */
  blobUrl(digest: string): string {
    return `${this.image.base}/v2/${this.image.repository}/blobs/${digest}`;
  }

  #manifestUrl(reference: string): string {
    return `${this.image.base}/v2/${this.image.repository}/manifests/${reference}`;
  }

  /** What a plain request for the manifest is challenged with; undefined where it is not. */
  async #challenge(signal: AbortSignal): Promise<string | undefined> {
    const { clock } = this.#parts;
    const url = new URL(this.#manifestUrl(this.image.reference));
    const startMs = clock.monotonic();
    for (let failures = 1; ; failures += 1) {
      try {
        const request = { url, method: 'HEAD', headers: { accept: ACCEPT }, signal };
        const response = await this.#parts.connections.request(request);
        response.discard();
        // Whatever else it says is found out by the request that follows.
        if (response.status !== 401) return undefined;
        return headerOf(response.headers, 'www-authenticate') ?? '';
      } catch (error) {
        const state = { failures, elapsedMs: clock.monotonic() - startMs };
        await waitToRetry(CodedError.from(error), state, this.#options(signal));
      }
    }
  }

  async #get(
    url: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<RawManifest> {
    using answer = await openOrigin({ url, headers }, this.#options(signal));
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of answer.body) {
      bytes += chunk.length;
      if (bytes > MAX_MANIFEST_BYTES) {
        throw new CodedError('ERR_ORIGIN_FAILING', 'the registry sent a manifest that is too long');
      }
      chunks.push(chunk);
    }
    const [mediaType = ''] = (answer.head.contentType ?? '').split(';');
    return { text: Buffer.concat(chunks).toString(), mediaType: mediaType.trim() };
  }

  #options(signal: AbortSignal): OriginOptions {
    return { ...this.#parts, signal, limits: LIMITS };
  }
}

function checkDigest(digest: string, text: string): void {
  const [algorithm = '', expected] = digest.split(':');
  if (createHash(algorithm).update(text).digest('hex') === expected) return;
  throw new CodedError('ERR_DIGEST_MISMATCH', `the registry sent another manifest than ${digest}`);
}
