import { CodedError } from '../../core/base/error.ts';
import type { HttpResponse } from '../../core/net/http-client.ts';
import { headerOf } from '../../core/origin/response-head.ts';
import {
  MAX_MANIFEST_BYTES,
  ManifestCache,
  accepts,
  hasDigest,
  isDigest,
} from './manifest-cache.ts';
import type { Manifest } from './manifest-cache.ts';
import type { RegistryCounts } from './registry-counts.ts';
import { matchesEtag } from './blob-range.ts';
import { valueOf } from './forward-headers.ts';
import { ownHeaders, upstreamUrl } from './registry-exchange.ts';
import type { RegistryExchange } from './registry-exchange.ts';
import type { UpstreamAnswers } from './upstream-answer.ts';
import type { UpstreamRights } from './upstream-rights.ts';

/** What manifests are answered with. */
export interface RegistryManifestsOptions {
  readonly upstream: UpstreamAnswers;
  readonly rights: UpstreamRights;
  readonly counts: RegistryCounts;
}

/**
 * Manifests and indexes. A tag is asked of the registry each time, so nothing stale is ever answered; what has a
 * digest is kept, and given to whom the registry lets have it. Nothing is kept or sent that lacks its digest.
 */
export class RegistryManifests {
  readonly #options: RegistryManifestsOptions;
  readonly #cache = new ManifestCache();

  constructor(options: RegistryManifestsOptions) {
    this.#options = options;
  }

  async answer(exchange: RegistryExchange, reference: string): Promise<void> {
    if (!isDigest(reference)) return this.#pass(exchange);
    const url = upstreamUrl(exchange);
    const known = this.#cache.get(url);
    const isFitting =
      known !== undefined && accepts(valueOf(exchange.request.headers, 'accept'), known.mediaType);
    if (isFitting && (await this.#mayHave(exchange, url))) {
      this.#send(exchange, { manifest: known, digest: reference, source: 'cache' });
      return;
    }
    const { upstream } = this.#options;
    const answer = await upstream.ask(exchange);
    if (answer.status !== 200) return upstream.passOn(answer, exchange, 'manifest');
    this.#options.rights.grant(url, exchange.request.headers);
    const isLong = Number(headerOf(answer.headers, 'content-length')) > MAX_MANIFEST_BYTES;
    if (exchange.request.method === 'HEAD' || isLong) {
      return upstream.passOn(answer, exchange, 'manifest');
    }
    await this.#keepAndSend(exchange, answer, reference);
  }

  async #pass(exchange: RegistryExchange): Promise<void> {
    const { upstream } = this.#options;
    await upstream.passOn(await upstream.ask(exchange), exchange, 'manifest');
  }

  /** Whether the registry lets this client have what is kept; a registry that fails is asked again in full. */
  async #mayHave(exchange: RegistryExchange, url: string): Promise<boolean> {
    const { rights, upstream } = this.#options;
    const { headers } = exchange.request;
    if (rights.has(url, headers)) return true;
    const answer = await upstream.ask(exchange, 'HEAD');
    answer.discard();
    if (answer.status !== 200) return false;
    rights.grant(url, headers);
    return true;
  }

  async #keepAndSend(
    exchange: RegistryExchange,
    answer: HttpResponse,
    digest: string,
  ): Promise<void> {
    const bytes = await readWhole(answer);
    if (!hasDigest(bytes, digest)) {
      const message = `${exchange.upstream.name} sent a manifest with another digest than ${digest}`;
      throw new CodedError('ERR_DIGEST_MISMATCH', message);
    }
    const mediaType = headerOf(answer.headers, 'content-type');
    // Without its type no client could read it; its own answer says what the registry meant.
    const manifest = { bytes, mediaType: mediaType ?? 'application/octet-stream' };
    if (mediaType !== undefined) this.#cache.put(upstreamUrl(exchange), manifest);
    this.#send(exchange, { manifest, digest, source: 'direct' });
  }

  #send(
    exchange: RegistryExchange,
    sent: {
      readonly manifest: Manifest;
      readonly digest: string;
      readonly source: 'cache' | 'direct';
    },
  ): void {
    const { request, response } = exchange;
    const { manifest, digest, source } = sent;
    const { bytes, mediaType } = manifest;
    const etag = `"${digest}"`;
    const isKnown = matchesEtag(valueOf(request.headers, 'if-none-match'), etag);
    const hasBody = request.method !== 'HEAD' && !isKnown;
    response.writeHead(isKnown ? 304 : 200, {
      ...ownHeaders(exchange),
      'docker-content-digest': digest,
      etag,
      ...(isKnown ? {} : { 'content-type': mediaType, 'content-length': bytes.length }),
    });
    response.end(hasBody ? bytes : undefined);
    this.#options.counts.answered('manifest', source);
    this.#options.counts.sent('manifest', source, hasBody ? bytes.length : 0);
  }
}

async function readWhole(answer: HttpResponse): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of answer.body) {
    length += chunk.length;
    if (length > MAX_MANIFEST_BYTES) {
      const message = `a manifest is longer than ${MAX_MANIFEST_BYTES} bytes`;
      throw new CodedError('ERR_ORIGIN_FAILING', message);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
