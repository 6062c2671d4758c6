import { createSign, randomUUID, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { SystemClock } from '../../core/base/clock.ts';
import type { Workplace } from '../../bench/cluster/workplace.ts';
import { makeCertificate } from './certificate.ts';

export const USER = 'alice';
export const PASSWORD = 'correct-horse';
export const ISSUER = 'compat-issuer';
export const SERVICE = 'compat-registry';

const TOKEN_S = 300;
const LEEWAY_S = 60;
const MAX_FORM_BYTES = 16 * 1024;

/** Gives registry tokens to one user, as the token flow of the distribution project has it; nobody else gets one. */
export class TokenServer implements AsyncDisposable {
  readonly certificateFile: string;
  /** How often a token was given. */
  granted = 0;
  readonly #key: string;
  readonly #certificate: string;
  readonly #server: Server;
  readonly #clock = new SystemClock();

  private constructor(parts: { certificateFile: string; key: string; certificate: string }) {
    this.certificateFile = parts.certificateFile;
    this.#key = parts.key;
    this.#certificate = parts.certificate;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  static async start(workplace: Workplace): Promise<TokenServer> {
    const subject = 'DNS:tokens.test';
    const made = await makeCertificate(workplace, { name: 'token-server', subject });
    const { keyFile, certificateFile } = made;
    const key = await readFile(keyFile, 'utf8');
    const der = new X509Certificate(await readFile(certificateFile)).raw;
    const parts = { certificateFile, key, certificate: der.toString('base64') };
    const server = new TokenServer(parts);
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  /** What the registry names as the place to get tokens. */
  get realm(): string {
    const address = this.#server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    return `http://127.0.0.1:${port}/token`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const asked = new URL(request.url ?? '/', this.realm).searchParams;
    const form = new URLSearchParams(await formOf(request));
    const basic = Buffer.from(
      (request.headers.authorization ?? '').replace(/^basic /i, ''),
      'base64',
    ).toString();
    const isUser =
      basic === `${USER}:${PASSWORD}` ||
      (form.get('username') === USER && form.get('password') === PASSWORD);
    if (!isUser) {
      response.writeHead(401, { 'content-type': 'application/json' });
      response.end('{"errors":[{"code":"UNAUTHORIZED","message":"from the token server"}]}');
      return;
    }
    const scopes = [...asked.getAll('scope'), ...form.getAll('scope')];
    const token = this.#token(scopes.flatMap((scope) => scope.split(' ')));
    this.granted += 1;
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ token, access_token: token, expires_in: TOKEN_S }));
  }

  #token(scopes: readonly string[]): string {
    const access = scopes.filter(Boolean).map((scope) => {
      const [type = '', ...rest] = scope.split(':');
      const actions = (rest.pop() ?? '').split(',').filter((action) => action === 'pull');
      return { type, name: rest.join(':'), actions };
    });
    const now = Math.floor(this.#clock.now() / 1000);
    const claims = {
      iss: ISSUER,
      sub: USER,
      aud: SERVICE,
      exp: now + TOKEN_S,
      nbf: now - LEEWAY_S,
      iat: now,
      jti: randomUUID(),
      access,
    };
    const head = { typ: 'JWT', alg: 'ES256', x5c: [this.#certificate] };
    const signed = [head, claims].map((part) => base64url(JSON.stringify(part))).join('.');
    const signature = createSign('sha256')
      .update(signed)
      .sign({ key: this.#key, dsaEncoding: 'ieee-p1363' });
    return `${signed}.${signature.toString('base64url')}`;
  }
}

async function formOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > MAX_FORM_BYTES) throw new RangeError('the form is too long');
  }
  return text;
}

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url');
}
