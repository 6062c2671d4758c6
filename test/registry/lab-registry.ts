// A registry for tests: content in memory or made as it is sent, three kinds of authentication, faults, and a record
// of what was asked and how many bytes of each body went out.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { contentChunks, contentDigest, contentLength } from '../../bench/origin/content.ts';
import type { Content } from '../../bench/origin/content.ts';
import { judgeRange } from '../../dfdaemon/proxy/blob-range.ts';

/** What is kept at a path. */
interface Kept {
  readonly content: Content;
  readonly digest: string;
  readonly type: string;
}

const BLOB = 'application/octet-stream';

/** One request as it came. */
export interface LabRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
}

/** Who may pull from a repository: anybody, a user with a password, or the bearer of a token. */
export type LabAccess =
  | { readonly kind: 'open' }
  | { readonly kind: 'basic'; readonly user: string; readonly password: string }
  | { readonly kind: 'bearer'; readonly tokens: ReadonlySet<string>; readonly realm?: string };

/** An answer instead of the right one. */
export type LabFault = (request: IncomingMessage, response: ServerResponse) => boolean;

/** A registry that listens on loopback. */
export class LabRegistry implements AsyncDisposable {
  readonly requests: LabRequest[] = [];
  /** Body bytes sent by path. */
  readonly sent = new Map<string, number>();
  access: LabAccess = { kind: 'open' };
  /** Asked before anything else; true: it has answered, or never will. */
  fault: LabFault = () => false;
  readonly #server: Server;
  readonly #content = new Map<string, Kept>();

  private constructor() {
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static async start(): Promise<LabRegistry> {
    const registry = new LabRegistry();
    await new Promise<void>((resolve) => registry.#server.listen(0, '127.0.0.1', resolve));
    return registry;
  }

  /** `127.0.0.1:PORT`. */
  get name(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Keeps a blob in a repository and answers with its digest. */
  blob(repository: string, bytes: Uint8Array): string {
    const digest = digestOf(bytes);
    this.#keep(repository, { content: { bytes }, digest, type: BLOB });
    return digest;
  }

  /** The same for bytes that are made as they are sent, of any length. */
  async longBlob(repository: string, length: number): Promise<string> {
    const content = { seed: length, length };
    const digest = await contentDigest(content);
    this.#keep(repository, { content, digest, type: BLOB });
    return digest;
  }

  /** Keeps a manifest by its digest and, where given, a tag. */
  manifest(
    repository: string,
    bytes: Uint8Array,
    { type, tag }: { type: string; tag?: string },
  ): string {
    const digest = digestOf(bytes);
    for (const reference of [digest, ...(tag === undefined ? [] : [tag])]) {
      const kept = { content: { bytes }, digest, type };
      this.#content.set(`/v2/${repository}/manifests/${reference}`, kept);
    }
    return digest;
  }

  /** Anything else that is answered with JSON. */
  document(path: string, value: unknown): void {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = digestOf(bytes);
    this.#content.set(path, { content: { bytes }, digest, type: 'application/json' });
  }

  /** Requests whose path begins so, as `METHOD path`. */
  asked(path: string): string[] {
    return this.requests
      .filter(({ url }) => url.startsWith(path))
      .map(({ method, url }) => `${method} ${url}`);
  }

  /** Body bytes sent of everything whose path begins so. */
  bytesOf(path: string): number {
    let bytes = 0;
    for (const [sent, count] of this.sent) if (sent.startsWith(path)) bytes += count;
    return bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #keep(repository: string, kept: Kept): void {
    this.#content.set(`/v2/${repository}/blobs/${kept.digest}`, kept);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request;
    this.requests.push({ method, url, headers });
    response.setHeader('docker-distribution-api-version', 'registry/2.0');
    if (this.fault(request, response)) return;
    if (!this.#isAllowed(request)) {
      response.setHeader('www-authenticate', challengeOf(this.access));
      answerJson(response, 401, { errors: [{ code: 'UNAUTHORIZED', message: 'who are you' }] });
      return;
    }
    const path = url.split('?', 1)[0] ?? '';
    if (path === '/v2/') return answerJson(response, 200, {});
    const found = this.#content.get(path);
    const isTaken =
      found !== undefined &&
      (!path.includes('/manifests/') || (headers.accept ?? '').includes(found.type));
    if (!isTaken) {
      return answerJson(response, 404, { errors: [{ code: 'UNKNOWN', message: 'not here' }] });
    }
    await this.#send({ path, ...found }, request, response).catch(() => response.destroy());
  }

  async #send(
    found: Kept & { readonly path: string },
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { path, content, digest, type } = found;
    const length = contentLength(content);
    response.setHeader('etag', `"${digest}"`);
    response.setHeader('docker-content-digest', digest);
    response.setHeader('content-type', type);
    if (request.headers['if-none-match'] === `"${digest}"`) {
      response.writeHead(304).end();
      return;
    }
    response.setHeader('accept-ranges', 'bytes');
    const verdict = judgeRange(request.headers.range, length);
    if (verdict.kind === 'outside') {
      // As docker-registry does: the length of the content, and a few words.
      response.writeHead(416, { 'content-range': `bytes */${length}`, 'content-length': length });
      response.write('{"errors":[]}');
      return;
    }
    const part = verdict.kind === 'parts' ? verdict.parts[0] : { start: 0, end: length };
    response.writeHead(verdict.kind === 'parts' ? 206 : 200, {
      'content-length': part.end - part.start,
      ...(verdict.kind === 'parts'
        ? { 'content-range': `bytes ${part.start}-${part.end - 1}/${length}` }
        : {}),
    });
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    const chunks = Readable.from(contentChunks(content, part.start, part.end));
    chunks.on('data', (chunk: Uint8Array) => {
      this.sent.set(path, (this.sent.get(path) ?? 0) + chunk.length);
    });
    await pipeline(chunks, response);
  }

  #isAllowed({ headers: { authorization } }: IncomingMessage): boolean {
    const { access } = this;
    if (access.kind === 'open') return true;
    if (access.kind === 'bearer') {
      return access.tokens.has((authorization ?? '').replace(/^Bearer /, ''));
    }
    return authorization === basic(access.user, access.password);
  }
}

function challengeOf(access: LabAccess): string {
  if (access.kind !== 'bearer') return 'Basic realm="lab"';
  return `Bearer realm="${access.realm ?? 'http://token.test/'}"`;
}

/** The value of an Authorization header. */
export function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

/** `sha256:HEX`. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function answerJson(response: ServerResponse, status: number, value: unknown): void {
  const text = JSON.stringify(value);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(response.req.method === 'HEAD' ? undefined : text);
}
