import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import fastify from 'fastify';
import type { FastifyError, FastifyInstance, FastifyReply } from 'fastify';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';

const MAX_BODY_BYTES = 1024 * 1024;
const MAX_HEADER_BYTES = 16 * 1024;
/** A request must be whole within this time; answers may take as long as they like. */
const REQUEST_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 60_000;
const RETRY_AFTER_SECONDS = '1';

/** How a server is made. */
export interface HttpServerOptions {
  readonly log: Log;
  /** Connections past this are closed unanswered. */
  readonly maxConnections: number;
  /** Longest that a client may take to send its request, ms; default 10 s. */
  readonly requestTimeoutMs?: number;
}

/** An HTTP server that answers every failure with `{error: ErrorObject}` and the status of its code; not yet listening. */
export function newHttpServer(options: HttpServerOptions): FastifyInstance {
  const { log, requestTimeoutMs = REQUEST_TIMEOUT_MS } = options;
  const server = fastify({
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    http: {
      maxHeaderSize: MAX_HEADER_BYTES,
      // A minute by default; of the two Node takes the longer one for the whole request.
      headersTimeout: requestTimeoutMs,
      // Half a minute by default, in which nobody is found to be late.
      connectionsCheckingInterval: requestTimeoutMs / 2,
    },
    // Bodies are checked by our own parsers: without this fastify loads two compilers that nothing uses.
    schemaController: {
      compilersFactory: { buildValidator: noCompiler, buildSerializer: noCompiler },
    },
    clientErrorHandler: (error, socket) => refuseUnreadable(error, socket),
    frameworkErrors: (error, _request, reply) => {
      answerError(reply, error, log);
    },
  });
  server.server.maxConnections = options.maxConnections;
  refusePipelining(server);
  server.setErrorHandler((error, _request, reply) => answerError(reply, error, log));
  server.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] ?? '';
    const message = `nothing is at ${request.method} ${path.slice(0, 200)}`;
    return answerError(reply, new CodedError('ERR_NOT_FOUND', message), log);
  });
  return server;
}

/**
 * Answers wait in memory for their turn on the connection: whoever asks on and never reads would fill it, as each may
 * hold 128 KiB of content. So a request that comes before the last one is answered is refused.
 */
function refusePipelining(server: FastifyInstance): void {
  const busy = new WeakSet<Socket>();
  server.addHook('onRequest', ({ raw: { socket } }, reply, done) => {
    if (busy.has(socket)) {
      done(
        new CodedError('ERR_REQUEST', 'the last request on this connection is not answered yet'),
      );
      return;
    }
    busy.add(socket);
    reply.raw.once('close', () => busy.delete(socket));
    done();
  });
}

function noCompiler(): never {
  throw new TypeError('routes carry no schemas: parse in the handler');
}

function answerError(reply: FastifyReply, error: unknown, log: Log): FastifyReply {
  const { status, coded } = judge(error, log);
  if (status === 503) reply.header('retry-after', RETRY_AFTER_SECONDS);
  return reply.code(status).send({ error: coded.toObject() });
}

function judge(error: unknown, log: Log): { status: number; coded: CodedError } {
  if (error instanceof CodedError) return { status: error.facts.http, coded: error };
  // What fastify itself refuses: too long, not JSON, another media type. Its status says more than ours.
  if (isClientFault(error)) {
    const coded = new CodedError('ERR_REQUEST', error.message, { detail: { reason: error.code } });
    return { status: error.statusCode, coded };
  }
  log.error({ err: error }, 'a request failed for a reason nobody foresaw');
  return { status: 500, coded: CodedError.from(error) };
}

function isClientFault(error: unknown): error is FastifyError & { statusCode: number } {
  if (!(error instanceof Error) || !('statusCode' in error) || !('code' in error)) return false;
  const { statusCode } = error;
  return typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500;
}

/** What cannot be parsed as HTTP never becomes a request, and is answered by hand. */
export function refuseUnreadable(error: Error & { code?: string }, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = unreadableStatus(error.code);
  const coded = new CodedError('ERR_REQUEST', `not a usable HTTP request (${error.code ?? '?'})`);
  const body = JSON.stringify({ error: coded.toObject() });
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}

function unreadableStatus(code: string | undefined): number {
  if (code === 'HPE_HEADER_OVERFLOW') return 431;
  return code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400;
}
