import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { fastify } from 'fastify';
import type { TSchema } from 'typebox';
import type { ApiApp } from '../../core/base/api-app.ts';
import { CodedError, systemCode } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { parser } from '../../core/wire/parse-message.ts';

const MAX_BODY_BYTES = 16_384;
/** Longest that a client may take to send its request. */
const REQUEST_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 1_000;

/** Connections whose request may take longer. */
const spared = new WeakSet<Duplex>();

/** How the parts of a request are called in messages. */
const partNames: Readonly<Record<string, string>> = {
  body: 'body',
  params: 'path',
  querystring: 'query',
};

const clientStatuses: Readonly<Record<string, string>> = {
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
};

/** A server without routes: strict schemas, and every error as `{error}` with the status of its code. */
export function newApiApp(log: Log): ApiApp {
  const app = fastify({
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    // A client that keeps a connection open must not hold up a stop.
    forceCloseConnections: true,
    clientErrorHandler: refuseClient,
    routerOptions: { maxParamLength: 128 },
  }).withTypeProvider<TypeBoxTypeProvider>();
  app.server.maxConnections = MAX_CONNECTIONS;
  // A minute by default; of the two Node takes the longer one for the whole request.
  app.server.headersTimeout = REQUEST_TIMEOUT_MS;
  app.setValidatorCompiler<TSchema>(({ schema, httpPart = '' }) => {
    const parse = parser(schema, { code: 'ERR_REQUEST', strict: true });
    return (data: unknown) => {
      try {
        return { value: parse(httpPart === 'querystring' ? withNumbers(schema, data) : data) };
      } catch (error) {
        return { error: located(error, partNames[httpPart] ?? httpPart) };
      }
    };
  });
  app.setErrorHandler(async (error, request, reply) => {
    const coded = codedOf(error);
    const { method } = request;
    const route = request.routeOptions.url;
    if (coded.facts.http === 500) log.error({ err: error, method, route }, 'request failed');
    if (coded.code === 'ERR_UNAUTHORIZED') void reply.header('www-authenticate', 'Bearer');
    return reply.code(coded.facts.http).send({ error: coded.toObject() });
  });
  app.setNotFoundHandler(async (_request, reply) => {
    const error = new CodedError('ERR_NOT_FOUND', 'there is nothing under this path and method');
    return reply.code(error.facts.http).send({ error: error.toObject() });
  });
  return app;
}

/** The rest of this request, and all that comes on its connection, may take as long as it likes. */
export function spareRequest({ socket }: IncomingMessage): void {
  spared.add(socket);
}

/** What comes on a connection is no HTTP, or comes too slowly. */
function refuseClient(error: Error, socket: Duplex): void {
  const code = systemCode(error);
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT' && spared.has(socket)) return;
  const status = clientStatuses[code ?? ''] ?? '400 Bad Request';
  if (socket.writable && code !== 'ECONNRESET') {
    socket.write(`HTTP/1.1 ${status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
  }
  socket.destroy(error);
}

/** What fastify itself refuses (a body that is no JSON, too long, of another type) is the caller's mistake. */
function codedOf(error: unknown): CodedError {
  if (error instanceof CodedError || !(error instanceof Error)) return CodedError.from(error);
  const status = 'statusCode' in error ? error.statusCode : undefined;
  if (typeof status !== 'number' || status >= 500) {
    return new CodedError('ERR_INTERNAL', 'the request failed; the log says why', { cause: error });
  }
  return new CodedError('ERR_REQUEST', error.message, { cause: error });
}

/** Query values are text: those of integer fields become numbers, if they look like one. */
function withNumbers(schema: TSchema, data: unknown): unknown {
  if (typeof data !== 'object' || data === null) return data;
  const properties: unknown = Reflect.get(schema, 'properties');
  const entries = Object.entries(data).map(([name, value]: [string, unknown]) => {
    const isInteger = fieldOf(fieldOf(properties, name), 'type') === 'integer';
    const isNumber = typeof value === 'string' && /^\d{1,15}$/.test(value);
    return [name, isInteger && isNumber ? Number(value) : value];
  });
  return Object.fromEntries(entries);
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function located(error: unknown, part: string): Error {
  if (!(error instanceof CodedError)) return CodedError.from(error);
  return new CodedError(error.code, `${part}${error.message}`, { detail: error.detail });
}
