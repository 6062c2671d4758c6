import { Type } from 'typebox';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { callJson } from '../../core/net/json-call.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { TokenOptions, TokenSummary } from '../membership/tokens.ts';
import type { SupernodeActions } from './supernode-view.ts';

const TIMEOUT_MS = 10_000;

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

  async #ask({ method, path, body }: Exchange): Promise<unknown> {
    return callJson({
      target: { socketPath: this.#path, method, path: `/api/v1/${path}` },
      body,
      timeoutMs: TIMEOUT_MS,
      unreachable: (cause) => unreachable(this.#path, cause),
    });
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
