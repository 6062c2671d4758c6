import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { SystemRandom } from '../../core/base/random.ts';

const random = new SystemRandom();
const PLAIN_HTTP_PORT = 80;

/** A registry of our own making at an address of its own, which does what a test wants and knows who came. */
export class OtherRegistry implements AsyncDisposable {
  readonly name: string;
  readonly seen: {
    readonly method: string;
    readonly url: string;
    readonly authorization: string | undefined;
  }[] = [];
  connections = 0;
  readonly #server: Server;

  private constructor(
    name: string,
    answer: (request: IncomingMessage, response: ServerResponse) => void,
  ) {
    this.name = name;
    this.#server = createServer((request, response) => {
      const { method = 'GET', url = '/', headers } = request;
      this.seen.push({ method, url, authorization: headers.authorization });
      answer(request, response);
    });
    this.#server.on('connection', () => (this.connections += 1));
  }

  static async start(
    answer: (request: IncomingMessage, response: ServerResponse) => void,
    name = ownAddress(),
  ): Promise<OtherRegistry> {
    const registry = new OtherRegistry(name, answer);
    registry.#server.listen(PLAIN_HTTP_PORT, name);
    await once(registry.#server, 'listening');
    return registry;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

/** A loopback address that nobody else is likely to have. */
export function ownAddress(): string {
  return `127.${192 + random.below(32)}.${random.below(256)}.${1 + random.below(254)}`;
}

/** Says yes to everything: it has each blob, of any length asked for, and its bytes are zeros. */
export function sayYes(
  length: number,
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    const range = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? '');
    const start = Number(range?.[1] ?? 0);
    const end = range === null || range[2] === '' ? length : Math.min(length, Number(range[2]) + 1);
    const headers: Record<string, string | number> = {
      'content-type': 'application/octet-stream',
      'content-length': Math.max(0, end - start),
      'accept-ranges': 'bytes',
    };
    const digest = /sha256:[0-9a-f]{64}/.exec(request.url ?? '')?.[0];
    if (digest !== undefined) {
      headers['docker-content-digest'] = digest;
      headers['etag'] = `"${digest}"`;
    }
    if (range !== null) headers['content-range'] = `bytes ${start}-${end - 1}/${length}`;
    response.writeHead(range === null ? 200 : 206, headers);
    response.end(request.method === 'HEAD' ? undefined : Buffer.alloc(Math.max(0, end - start)));
  };
}
