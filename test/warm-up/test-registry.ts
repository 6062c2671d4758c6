// A registry of images made up by a test, over node:http: tokens, faults and counts.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { seededBytes } from '../../bench/origin/content.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

/** How a registry asks who somebody is. */
export type RegistryAuth = 'none' | 'basic' | 'token';

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** An image in the registry. */
export interface TestImage {
  readonly reference: string;
  readonly digest: string;
  readonly configs: readonly Descriptor[];
  readonly layers: readonly Descriptor[];
}

/** The one user that the registry knows. */
export const user = { username: 'alice', password: 'correct-horse' };

/** Serves manifests and blobs; counts what leaves. */
export class TestRegistry implements AsyncDisposable {
  /** Body bytes of blobs sent, by digest. */
  readonly blobBytes = new Map<string, number>();
  readonly requests: { readonly method: string; readonly path: string }[] = [];
  /** Tokens given out. */
  tokens = 0;
  /** Answers to requests for a blob before it is served, by digest: statuses, one each. */
  readonly refusals = new Map<string, number[]>();
  /** Blobs that are not sent before this resolves. */
  readonly gates = new Map<string, Promise<void>>();
  /** Called when a manifest was asked for with GET. */
  onManifest: () => void = () => undefined;
  /** The token that is taken. */
  #valid = '';
  readonly #auth: RegistryAuth;
  readonly #manifests = new Map<string, { readonly type: string; readonly text: string }>();
  readonly #blobs = new Map<string, Uint8Array>();
  readonly #server = createServer((request, response) => {
    this.#answer(request, response).catch(() => response.destroy());
  });
  #seed = 1;

  private constructor(auth: RegistryAuth) {
    this.#auth = auth;
  }

  static async start(auth: RegistryAuth = 'none'): Promise<TestRegistry> {
    const registry = new TestRegistry(auth);
    registry.#server.listen(0, '127.0.0.1');
    await once(registry.#server, 'listening');
    return registry;
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  }

  /** Body bytes of all blobs. */
  get sentBytes(): number {
    return [...this.blobBytes.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Tokens of before are not taken any more. */
  expireTokens(): void {
    this.#valid = '';
  }

  /** Serves other words under the digest of a manifest. */
  falsify(digest: string): void {
    const manifest = this.#manifests.get(digest);
    if (manifest !== undefined) {
      this.#manifests.set(digest, { ...manifest, text: `${manifest.text} ` });
    }
  }

  /** Puts an image of these platforms there, each with layers of these lengths; one platform needs no index. */
  add(
    name: string,
    tag: string,
    platforms: Readonly<Record<string, readonly number[]>>,
  ): TestImage {
    const configs: Descriptor[] = [];
    const layers: Descriptor[] = [];
    const manifests = Object.entries(platforms).map(([platform, lengths]) => {
      const [os = '', architecture = ''] = platform.split('/');
      const config = this.#blob(Buffer.from(JSON.stringify({ os, architecture, n: this.#seed })));
      const own = lengths.map((length) => this.#blob(seededBytes((this.#seed += 1), 0, length)));
      configs.push(config);
      layers.push(...own);
      const body = { schemaVersion: 2, mediaType: MANIFEST, config, layers: own };
      return { ...this.#manifest(MANIFEST, body), platform: { os, architecture } };
    });
    const [only] = manifests;
    const isIndexed = manifests.length !== 1 || only === undefined;
    const top = isIndexed
      ? this.#manifest(INDEX, { schemaVersion: 2, mediaType: INDEX, manifests })
      : only;
    const manifest = this.#manifests.get(top.digest);
    if (manifest !== undefined) this.#manifests.set(tag, manifest);
    return { reference: `${this.url}/${name}:${tag}`, digest: top.digest, configs, layers };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  #blob(bytes: Uint8Array): Descriptor {
    const digest = digestOf(bytes);
    this.#blobs.set(digest, bytes);
    return { mediaType: 'application/octet-stream', digest, size: bytes.length };
  }

  #manifest(type: string, body: object): Descriptor {
    const text = JSON.stringify(body);
    const digest = digestOf(Buffer.from(text));
    this.#manifests.set(digest, { type, text });
    return { mediaType: type, digest, size: text.length };
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    const { pathname } = new URL(url, this.url);
    this.requests.push({ method, path: pathname });
    if (pathname === '/token') {
      this.#token(request, response);
      return;
    }
    const [, kind, reference = ''] = /^\/v2\/.+\/(manifests|blobs)\/(.+)$/.exec(pathname) ?? [];
    if (!this.#isKnown(request)) {
      const realm = this.#auth === 'basic' ? 'Basic realm="test"' : this.#bearer(pathname);
      response.writeHead(401, { 'www-authenticate': realm }).end('{"errors":[]}');
      return;
    }
    if (kind === 'manifests') this.#sendManifest(reference, method, response);
    else await this.#sendBlob(reference, request, response);
  }

  #isKnown({ headers }: IncomingMessage): boolean {
    if (this.#auth === 'none') return true;
    if (this.#auth === 'basic') return headers.authorization === basic();
    return this.#valid !== '' && headers.authorization === `Bearer ${this.#valid}`;
  }

  #bearer(path: string): string {
    const [, name = ''] = /^\/v2\/(.+)\/(?:manifests|blobs)\//.exec(path) ?? [];
    return `Bearer realm="${this.url}/token",service="test",scope="repository:${name}:pull"`;
  }

  #token({ headers }: IncomingMessage, response: ServerResponse): void {
    if (headers.authorization !== basic()) {
      response.writeHead(401).end();
      return;
    }
    this.tokens += 1;
    this.#valid = `token-${this.tokens}`;
    response.end(JSON.stringify({ token: this.#valid, expires_in: 300 }));
  }

  #sendManifest(reference: string, method: string, response: ServerResponse): void {
    const manifest = this.#manifests.get(reference);
    if (manifest === undefined) {
      response.writeHead(404).end('{"errors":[{"code":"MANIFEST_UNKNOWN"}]}');
      return;
    }
    const { type, text } = manifest;
    if (method === 'GET') this.onManifest();
    response.writeHead(200, { 'content-type': type, 'content-length': text.length });
    response.end(method === 'HEAD' ? undefined : text);
  }

  async #sendBlob(
    digest: string,
    { method, headers }: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    await this.gates.get(digest);
    const bytes = this.#blobs.get(digest);
    const status = this.refusals.get(digest)?.shift() ?? (bytes === undefined ? 404 : 200);
    if (status !== 200 || bytes === undefined) {
      response.writeHead(status).end();
      return;
    }
    const etag = `"${digest}"`;
    if (headers['if-none-match'] === etag) {
      response.writeHead(304).end();
      return;
    }
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? [];
    const start = Number(from ?? 0);
    const end = to === undefined || to === '' ? bytes.length : Number(to) + 1;
    const part = bytes.subarray(start, end);
    const length = { 'content-length': part.length, etag, 'accept-ranges': 'bytes' };
    const range = { 'content-range': `bytes ${start}-${start + part.length - 1}/${bytes.length}` };
    response.writeHead(from === undefined ? 200 : 206, {
      ...length,
      ...(from === undefined ? {} : range),
    });
    if (method === 'HEAD') {
      response.end();
      return;
    }
    this.blobBytes.set(digest, (this.blobBytes.get(digest) ?? 0) + part.length);
    response.end(part);
  }
}

function basic(): string {
  return `Basic ${Buffer.from(`${user.username}:${user.password}`).toString('base64')}`;
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
