import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { STATUS_CODES } from 'node:http';
import { CodedError } from '../../core/base/error.ts';

const RETRY_AFTER_SECONDS = '1';

/** Answers with a few lines of text that begin with the code; once the head is out, only ending the connection tells. */
export function answerError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const coded = CodedError.from(error);
  const text = textOf(coded);
  response.writeHead(coded.facts.http, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'x-odonata-error': coded.code,
    ...(coded.facts.http === 503 ? { 'retry-after': RETRY_AFTER_SECONDS } : {}),
    // What is left of the request's body would be taken for the next request.
    ...(response.req.complete ? {} : { connection: 'close' }),
  });
  response.end(text);
}

/** The same on a connection that asked for a tunnel, which is closed then. */
export function answerTunnelError(socket: Socket, error: unknown): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const coded = CodedError.from(error);
  const text = textOf(coded);
  const status = coded.facts.http;
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}`,
    'content-type: text/plain; charset=utf-8',
    `content-length: ${Buffer.byteLength(text)}`,
    `x-odonata-error: ${coded.code}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`, () => socket.destroySoon());
}

function textOf(error: CodedError): string {
  return `${error.code}: ${error.message}\n${error.facts.next}\n`;
}
