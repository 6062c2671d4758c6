import type { IncomingMessage, RequestOptions } from 'node:http';
import { Type } from 'typebox';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { parser } from '../../core/wire/parse-message.ts';

// `import` of node:http evaluates its lazy exports too (WebSocket and with it undici): 40 ms instead of 4.
const http = process.getBuiltinModule('node:http');

const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const TIMEOUT_MS = 30_000;

const parseError = parser(
  Type.Object({
    error: Type.Object({
      code: Type.String(),
      message: Type.String(),
      detail: Type.Optional(Type.Unknown()),
    }),
  }),
);

/** One call. */
export interface ApiCall {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** With query, from the first slash on. */
  readonly path: string;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
}

/** The HTTP API of a supernode. */
export class ApiClient {
  readonly #base: URL;
  readonly #key: string | undefined;

  constructor(base: string, key: string | undefined) {
    this.#base = new URL(base);
    this.#key = key;
  }

  /** The JSON of the answer; throws what the API refuses with, ERR_MESH_UNAVAILABLE when nobody answers. */
  async ask(call: ApiCall): Promise<unknown> {
    const response = await this.#send(call);
    const body = await jsonOf(response);
    const { statusCode = 0 } = response;
    if (statusCode >= 200 && statusCode < 300) return body;
    throw CodedError.fromObject(parseError(body).error);
  }

  async #send({ method, path, body, signal }: ApiCall): Promise<IncomingMessage> {
    const payload = body === undefined ? '' : JSON.stringify(body);
    const url = new URL(this.#base.pathname.replace(/\/$/, '') + path, this.#base);
    const options: RequestOptions = {
      agent: false,
      method,
      timeout: TIMEOUT_MS,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        'content-length': Buffer.byteLength(payload),
        ...(this.#key === undefined ? {} : { authorization: `Bearer ${this.#key}` }),
      },
      ...(signal === undefined ? {} : { signal }),
    };
    const { request: send } =
      url.protocol === 'https:' ? process.getBuiltinModule('node:https') : http;
    return new Promise((resolve, reject) => {
      const request = send(url, options);
      request.once('response', resolve);
      request.once('timeout', () => request.destroy(new Error('no answer in time')));
      request.once('error', (error) => reject(unreachable(url, error, signal)));
      request.end(payload);
    });
  }
}

async function jsonOf(response: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    if (!Buffer.isBuffer(chunk)) continue;
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new CodedError('ERR_PROTOCOL', 'the answer is too long');
    chunks.push(chunk);
  }
  if (bytes === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch (cause) {
    throw new CodedError('ERR_PROTOCOL', 'what answers is no supernode: no JSON', { cause });
  }
}

function unreachable(url: URL, cause: Error, signal: AbortSignal | undefined): CodedError {
  if (signal?.aborted === true) return CodedError.from(signal.reason);
  const reason = systemCode(cause) ?? cause.message;
  return new CodedError(
    'ERR_MESH_UNAVAILABLE',
    `no supernode answers on ${url.origin} (${reason})`,
    { cause },
  );
}
