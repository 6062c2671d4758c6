import type { ClientRequest, IncomingMessage } from 'node:http';
import { CodedError, systemCode } from '../base/error.ts';
import type { DownloadEvent, Downloader, DownloadRequest } from '../swarm/download-events.ts';
import { parseDownloadEvent, parseErrorObject } from './event-parser.ts';
import { readLines } from './read-lines.ts';

// `import` of node:http evaluates its lazy exports too (WebSocket and with it undici): 40 ms instead of 4.
const http = process.getBuiltinModule('node:http');
const net = process.getBuiltinModule('node:net');

/** An event holds 128 KiB of content as base64, or an explanation with every source of a large swarm. */
const MAX_LINE_BYTES = 8 * 1024 * 1024;
const MAX_ERROR_BYTES = 64 * 1024;

interface Exchange {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: string;
  readonly signal: AbortSignal;
}

/**
 * Downloads through the local API of dfdaemon. Throws ERR_DAEMON_UNAVAILABLE, with `reached` false when
 * nobody listens on the socket and true when the connection was lost later.
 */
export class DaemonClient implements Downloader {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** Asks at once, before the first event is awaited. */
  download(
    request: DownloadRequest,
    options: { signal: AbortSignal },
  ): AsyncGenerator<DownloadEvent> {
    const { signal } = options;
    const body = JSON.stringify(request);
    const answer = this.#exchange({ method: 'POST', path: '/v1/downloads', body, signal });
    // Told by the generator, if anybody listens to it.
    answer.catch(() => undefined);
    return this.#events(answer, signal);
  }

  async *#events(
    answer: Promise<IncomingMessage>,
    signal: AbortSignal,
  ): AsyncGenerator<DownloadEvent> {
    try {
      for await (const line of readLines(await answer, MAX_LINE_BYTES)) {
        const event = parseDownloadEvent(parseJson(line));
        if (event !== undefined) yield event;
        if (event?.type === 'done' || event?.type === 'failed') return;
      }
    } catch (error) {
      if (!signal.aborted) throw lost(error);
      yield { type: 'failed', ...CodedError.from(signal.reason).toObject() };
      return;
    }
    throw lost(new Error('the answer ended early'));
  }

  async *content(
    done: { readonly task: string; readonly version: string },
    options: { signal: AbortSignal },
  ): AsyncGenerator<Uint8Array> {
    const { signal } = options;
    const path = `/v1/tasks/${done.task}/content?version=${done.version}`;
    try {
      const response = await this.#exchange({ method: 'GET', path, signal });
      for await (const chunk of response) {
        if (chunk instanceof Uint8Array) yield chunk;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw lost(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nothing is held between calls.
  }

  /** Sends one request; resolves with the answer when its status is 200, throws what it says otherwise. */
  async #exchange(exchange: Exchange): Promise<IncomingMessage> {
    const response = await this.#answer(exchange);
    if (response.statusCode === 200) return response;
    throw await errorOf(response);
  }

  #answer({ method, path, body, signal }: Exchange): Promise<IncomingMessage> {
    const headers =
      body === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    return new Promise((resolve, reject) => {
      const request: ClientRequest = http.request({
        // No agent: it would compile a pattern for IPv6 names, 7 ms, and keep nothing that is used again.
        createConnection: () => net.connect(this.#socketPath),
        method,
        path,
        headers,
        signal,
      });
      let isConnected = false;
      request.once('socket', (socket) => socket.once('connect', () => (isConnected = true)));
      request.once('response', resolve);
      request.on('error', (error) => {
        reject(isConnected ? error : unreachable(this.#socketPath, error));
      });
      request.end(body);
    });
  }
}

function unreachable(socketPath: string, cause: Error): CodedError {
  const code = systemCode(cause) ?? cause.message;
  return new CodedError(
    'ERR_DAEMON_UNAVAILABLE',
    `no dfdaemon answers on ${socketPath} (${code})`,
    {
      cause,
      detail: { socket: socketPath, reached: false },
    },
  );
}

function lost(error: unknown): CodedError {
  if (error instanceof CodedError) return error;
  const why = error instanceof Error ? error.message : String(error);
  return new CodedError('ERR_DAEMON_UNAVAILABLE', `the connection to dfdaemon was lost (${why})`, {
    cause: error,
    detail: { reached: true },
  });
}

async function errorOf(response: IncomingMessage): Promise<CodedError> {
  let text = '';
  for await (const line of readLines(response, MAX_ERROR_BYTES)) text += line;
  const body = parseJson(text);
  if (typeof body === 'object' && body !== null && 'error' in body) {
    return parseErrorObject(body.error);
  }
  throw new CodedError('ERR_PROTOCOL', `dfdaemon answered ${response.statusCode} without an error`);
}

function parseJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch (cause) {
    throw new CodedError('ERR_PROTOCOL', 'dfdaemon sent a line that is not JSON', { cause });
  }
}
