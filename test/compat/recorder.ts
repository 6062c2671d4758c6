import { once } from 'node:events';
import { Agent, createServer, request as httpRequest } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { pipeline } from 'node:stream/promises';

/** One request that reached the registry, and what left for it. */
export interface Recorded {
  readonly method: string;
  readonly url: string;
  readonly range: string | undefined;
  readonly isAuthorized: boolean;
  status: number;
  bodyBytes: number;
}

/** Holds back every blob after its first bytes until it is opened. */
export interface Gate {
  /** Resolves when a first answer is held. */
  readonly reached: Promise<void>;
  open(): void;
}

const HTTPS_PORT = 443;
const KEPT = 10_000;
const GATED_BYTES = 1024 * 1024;

/** Stands in front of a registry, passes everything on unchanged, and knows what left. */
export class Recorder implements AsyncDisposable {
  readonly requests: Recorded[] = [];
  readonly #servers: Server[] = [];
  readonly #agent = new Agent({ keepAlive: true });
  readonly #upstream: { readonly host: string; readonly port: number };
  #gate: { readonly afterBytes: number; hold: () => Promise<void> } | undefined;

  private constructor(upstream: { readonly host: string; readonly port: number }) {
    this.#upstream = upstream;
  }

  /** Listens for http, and with `tls` for https on the same address, port 443. */
  static async start(
    listen: { readonly host: string; readonly port: number },
    upstream: { readonly host: string; readonly port: number },
    tls?: { readonly key: Buffer; readonly cert: Buffer },
  ): Promise<Recorder> {
    const recorder = new Recorder(upstream);
    const pass = (request: IncomingMessage, response: ServerResponse): void => {
      recorder.#pass(request, response).catch(() => response.destroy());
    };
    await recorder.#listen(createServer(pass), listen);
    if (tls === undefined) return recorder;
    await recorder.#listen(createTlsServer(tls, pass), { host: listen.host, port: HTTPS_PORT });
    return recorder;
  }

  /** Forgets what was recorded. */
  reset(): void {
    this.requests.length = 0;
  }

  /** Bytes of a blob that left, over all requests. */
  blobBytes(digest: string): number {
    return this.#sent(`/blobs/${digest}`);
  }

  /** Bytes of all blobs that left. */
  get allBlobBytes(): number {
    return this.#sent('/blobs/');
  }

  /** Holds blob answers back once `afterBytes` of one have left. */
  gate(afterBytes = GATED_BYTES): Gate {
    const reached = Promise.withResolvers<void>();
    const opened = Promise.withResolvers<void>();
    const hold = async (): Promise<void> => {
      reached.resolve();
      await opened.promise;
    };
    this.#gate = { afterBytes, hold };
    return {
      reached: reached.promise,
      open: () => {
        this.#gate = undefined;
        opened.resolve();
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    }
    this.#agent.destroy();
  }

  async #listen(server: Server, place: { host: string; port: number }): Promise<void> {
    this.#servers.push(server);
    server.listen(place.port, place.host);
    await once(server, 'listening');
  }

  /** What refusals say is no part of a blob. */
  #sent(part: string): number {
    return this.requests
      .filter(({ url, status }) => url.includes(part) && status < 300)
      .reduce((sum, { bodyBytes }) => sum + bodyBytes, 0);
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url = '/', rawHeaders } = request;
    const recorded: Recorded = {
      method,
      url,
      range: request.headers.range,
      isAuthorized: request.headers.authorization !== undefined,
      status: 0,
      bodyBytes: 0,
    };
    if (this.requests.length < KEPT) this.requests.push(recorded);
    const asked = httpRequest({ ...this.#upstream, agent: this.#agent, method, path: url });
    for (let at = 0; at < rawHeaders.length; at += 2) {
      const name = rawHeaders[at] ?? '';
      if (asked.hasHeader(name) && name.toLowerCase() !== 'host') {
        asked.appendHeader(name, rawHeaders[at + 1] ?? '');
      } else asked.setHeader(name, rawHeaders[at + 1] ?? '');
    }
    response.once('close', () => asked.destroy());
    request.pipe(asked);
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    recorded.status = answer.statusCode ?? 0;
    response.writeHead(recorded.status, answer.rawHeaders);
    const isBlob = url.includes('/blobs/') && recorded.status < 300;
    const gateOf = () => (isBlob ? this.#gate : undefined);
    const counted = async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
      for await (const chunk of chunks) {
        const gate = gateOf();
        if (gate !== undefined && recorded.bodyBytes >= gate.afterBytes) await gate.hold();
        recorded.bodyBytes += chunk.length;
        yield chunk;
      }
    };
    await pipeline(answer, counted, response);
  }
}
