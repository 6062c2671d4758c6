import type { ClientRequest, IncomingMessage } from 'node:http';
import { Type } from 'typebox';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { TokenOptions, TokenSummary } from '../membership/tokens.ts';
import type { SupernodeActions } from './supernode-view.ts';

// `import` of node:http evaluates its lazy exports too (WebSocket and with it undici): 40 ms instead of 4.
const http = process.getBuiltinModule('node:http');

const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const TIMEOUT_MS = 10_000;

const parseError = parser(
  Type.Object({
    error: Type.Object({
      code: Type.String(),
      message: Type.String(),
      detail: Type.Optional(Type.Unknown()),
    }),
  }),
);
const parseToken = parser(Type.Object({ token: Type.String() }));
const parseTokens = parser(
  Type.Object({
    items: Type.Array(
      Type.Object({
        id: Type.String(),
        expires: Type.String(),
        role: Type.Union([Type.Literal('host'), Type.Literal('seed')]),
        usesLeft: Type.Optional(Type.Integer()),
        cidr: Type.Optional(Type.String()),
        idc: Type.Optional(Type.String()),
      }),
    ),
  }),
);

interface Exchange {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
}

/** A running supernode, spoken to over its admin socket. */
export class AdminClient implements SupernodeActions {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /** Undefined when no supernode listens on the socket; ERR_FORBIDDEN when it is another user's. */
  static async connect(path: string): Promise<AdminClient | undefined> {
    const client = new AdminClient(path);
    try {
      await client.tokens();
      return client;
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== 'ERR_LINK') throw error;
      return undefined;
    }
  }

  async createToken(options: TokenOptions): Promise<string> {
    return parseToken(await this.#ask({ method: 'POST', path: 'tokens', body: options })).token;
  }

  async tokens(): Promise<TokenSummary[]> {
    const { items } = parseTokens(await this.#ask({ method: 'GET', path: 'tokens' }));
    return items.map((item) => ({ ...item, expires: Date.parse(item.expires) }));
  }

  async deleteToken(id: string): Promise<boolean> {
    try {
      await this.#ask({ method: 'DELETE', path: `tokens/${encodeURIComponent(id)}` });
      return true;
    } catch (error) {
      if (error instanceof CodedError && error.code === 'ERR_NOT_FOUND') return false;
      throw error;
    }
  }

  async revoke(peer: string): Promise<void> {
    await this.#ask({ method: 'DELETE', path: `hosts/${encodeURIComponent(peer)}` });
  }

  async #ask(exchange: Exchange): Promise<unknown> {
    const response = await this.#answer(exchange);
    const body = await jsonOf(response);
    const { statusCode = 0 } = response;
    if (statusCode >= 200 && statusCode < 300) return body;
    throw CodedError.fromObject(parseError(body).error);
  }

  #answer({ method, path, body }: Exchange): Promise<IncomingMessage> {
    const payload = body === undefined ? '' : JSON.stringify(body);
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    return new Promise((resolve, reject) => {
      const request: ClientRequest = http.request({
        socketPath: this.#path,
        agent: false,
        method,
        path: `/api/v1/${path}`,
        headers,
        timeout: TIMEOUT_MS,
      });
      request.once('response', resolve);
      request.once('timeout', () => request.destroy(new Error('no answer in time')));
      request.once('error', (error) => reject(unreachable(this.#path, error)));
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
    throw new CodedError('ERR_PROTOCOL', 'the answer of the supernode is no JSON', { cause });
  }
}

function unreachable(path: string, cause: Error): CodedError {
  switch (systemCode(cause)) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new CodedError('ERR_LINK', `no supernode listens on ${path}`, { cause });
    case 'EACCES':
    case 'EPERM':
      return new CodedError(
        'ERR_FORBIDDEN',
        `${path} is of another user: run this as the user of the supernode`,
        { cause },
      );
    default:
      return new CodedError('ERR_BUSY', `the supernode on ${path} does not answer`, { cause });
  }
}
