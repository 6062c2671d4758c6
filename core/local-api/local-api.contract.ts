import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { once } from 'node:events';
import type { DownloadEvent, DownloadRequest } from '../swarm/download-events.ts';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';

/** What the server answers to one download. */
export type Script = (
  request: DownloadRequest,
  answer: {
    readonly send: (event: DownloadEvent) => void;
    readonly response: ServerResponse;
    readonly closed: Promise<unknown>;
  },
) => Promise<void> | void;

/** A real HTTP server on a Unix socket that speaks the local API of dfdaemon as dfget relies on it. */
export class LocalApi implements AsyncDisposable {
  readonly socketPath: string;
  readonly requests: DownloadRequest[] = [];
  readonly contentCalls: string[] = [];
  content: Buffer = Buffer.alloc(0);
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  readonly #script: Script;

  private constructor(script: Script, socketPath: string) {
    this.#script = script;
    this.socketPath = socketPath;
  }

  static async open(script: Script, socketPath = freshSocketPath()): Promise<LocalApi> {
    const api = new LocalApi(script, socketPath);
    api.#server.listen(api.socketPath);
    await once(api.#server, 'listening');
    return api;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === 'GET' && request.url?.startsWith('/v1/tasks/') === true) {
      this.contentCalls.push(request.url);
      response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(this.content);
      return;
    }
    if (request.method !== 'POST' || request.url !== '/v1/downloads') {
      response.writeHead(404).end();
      return;
    }
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const asked = JSON.parse(body) as DownloadRequest;
    this.requests.push(asked);
    response.setHeader('content-type', 'application/x-ndjson');
    const closed = once(response, 'close');
    const send = (event: DownloadEvent): void => void response.write(`${JSON.stringify(event)}\n`);
    await this.#script(asked, { send, response, closed });
    response.end();
  }
}

/** A path short enough for a Unix socket, in a folder of its own. */
export function freshSocketPath(): string {
  return join(temporaryFolder('dfget'), 'd.sock');
}

/** The task of every fixture. */
export const TASK = 'a'.repeat(64);

/** A `done` event with `length` bytes from the seed, changed as asked. */
export function doneEvent(
  length: number,
  changes: Partial<Extract<DownloadEvent, { type: 'done' }>> = {},
): DownloadEvent {
  return {
    type: 'done',
    task: TASK,
    version: '0123456789abcdef',
    length,
    seconds: 0.001,
    duplicate: 0,
    fromPeers: 0,
    fromSeed: length,
    fromOrigin: 0,
    fromCache: 0,
    ...changes,
  };
}

/** A `done` event that carries its content. */
export function inlineDone(content: string): DownloadEvent {
  const bytes = Buffer.from(content);
  return doneEvent(bytes.length, { content: bytes.toString('base64') });
}
