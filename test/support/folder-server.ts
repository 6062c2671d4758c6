// A web server for a tree of files made up by a test, over node:http: index pages or WebDAV, faults and counts.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';

/** Serves `files` by path, and folders of them by listings. */
export class FolderServer implements AsyncDisposable {
  readonly files = new Map<string, Buffer>();
  /** Pages served in place of what would be listed, by path with a slash at its end. */
  readonly pages = new Map<string, () => Iterable<string>>();
  /** Statuses in place of files, by path. */
  readonly failures = new Map<string, number>();
  /** `METHOD /path`, as they came. */
  readonly requests: string[] = [];
  /** Body bytes of files sent, by path. */
  readonly sent = new Map<string, number>();
  /** Files that are being sent at this moment, and the most there ever were. */
  active = 0;
  mostActive = 0;
  isDav = false;
  /** The Authorization value that everything asks for. */
  authorization: string | undefined;
  readonly #server = createServer((request, response) => this.#answer(request, response));

  static async start(files: Readonly<Record<string, string | Buffer>> = {}): Promise<FolderServer> {
    const server = new FolderServer();
    for (const [path, content] of Object.entries(files))
      server.files.set(path, Buffer.from(content));
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  url(path: string): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}${path}`;
  }

  get sentBytes(): number {
    return [...this.sent.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { method = '', headers, url = '' } = request;
    const path = decodeURIComponent(new URL(url, 'http://x').pathname);
    this.requests.push(`${method} ${path}`);
    request.resume();
    if (this.authorization !== undefined && headers.authorization !== this.authorization) {
      response.writeHead(401).end();
    } else if (method === 'PROPFIND') this.#propfind(path, response);
    else if (path.endsWith('/')) this.#index(path, response);
    else this.#file(path, headers, response);
  }

  #propfind(path: string, response: ServerResponse): void {
    if (!this.isDav) {
      response.writeHead(405).end();
      return;
    }
    const found = this.#childrenOf(path).map((name) => this.#responseOf(path, name));
    const self = `<response><href>${encodeURI(path)}</href></response>`;
    response.writeHead(207, { 'content-type': 'application/xml' });
    response.end(`<multistatus xmlns="DAV:">${self}${found.join('')}</multistatus>`);
  }

  #responseOf(path: string, name: string): string {
    const content = this.files.get(`${path}${name}`);
    const kind = content === undefined ? '<resourcetype><collection/></resourcetype>' : '';
    const facts =
      content === undefined
        ? ''
        : `<getcontentlength>${content.length}</getcontentlength><getetag>${etagOf(content)}</getetag>`;
    const status = '<status>HTTP/1.1 200 OK</status>';
    const properties = `<propstat><prop>${kind}${facts}</prop>${status}</propstat>`;
    return `<response><href>${encodeURI(`${path}${name}`)}</href>${properties}</response>`;
  }

  #index(path: string, response: ServerResponse): void {
    const page = this.pages.get(path);
    const names = this.#childrenOf(path);
    if (page === undefined && names.length === 0) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'content-type': 'text/html' });
    if (page === undefined) {
      response.end(['<a href="../">..</a>', ...names.map((name) => this.#linkOf(name))].join('\n'));
      return;
    }
    const parts = page()[Symbol.iterator]();
    const more = (): void => {
      for (let next = parts.next(); ; next = parts.next()) {
        if (next.done === true) return void response.end();
        if (!response.write(next.value)) return void response.once('drain', more);
      }
    };
    more();
  }

  #linkOf(name: string): string {
    return `<a href="${encodeURIComponent(name.replace(/\/$/, ''))}${name.endsWith('/') ? '/' : ''}">x</a>`;
  }

  /** Names of files, and of folders with a slash. */
  #childrenOf(path: string): string[] {
    const below = [...this.files.keys()].filter((file) => file.startsWith(path));
    return [...new Set(below.map((file) => /^[^/]*\/?/.exec(file.slice(path.length))?.[0] ?? ''))];
  }

  #file(path: string, headers: IncomingMessage['headers'], response: ServerResponse): void {
    const content = this.files.get(path);
    const status = this.failures.get(path) ?? (content === undefined ? 404 : 200);
    if (status !== 200 || content === undefined) {
      response.writeHead(status).end();
      return;
    }
    const etag = etagOf(content);
    if (headers['if-none-match'] === etag) {
      response.writeHead(304, { etag }).end();
      return;
    }
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? [];
    const start = Number(from ?? 0);
    const end = to === undefined || to === '' ? content.length : Number(to) + 1;
    const part = content.subarray(start, end);
    const range = `bytes ${start}-${start + part.length - 1}/${content.length}`;
    this.active += 1;
    this.mostActive = Math.max(this.active, this.mostActive);
    this.sent.set(path, (this.sent.get(path) ?? 0) + part.length);
    response.once('close', () => (this.active -= 1));
    response.writeHead(from === undefined ? 200 : 206, {
      'content-length': part.length,
      etag,
      'accept-ranges': 'bytes',
      ...(from === undefined ? {} : { 'content-range': range }),
    });
    response.end(part);
  }
}

function etagOf(content: Buffer): string {
  return `"${createHash('sha1').update(content).digest('hex')}"`;
}
