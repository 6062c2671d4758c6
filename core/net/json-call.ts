import type { IncomingMessage, RequestOptions } from 'node:http';
import type { Readable } from 'node:stream';
import { Type } from 'typebox';
import { CodedError } from '../base/error.ts';
import { parser } from '../wire/parse-message.ts';

const { pipeline } = process.getBuiltinModule('node:stream');
// `import` of node:http evaluates its lazy exports too (WebSocket and with it undici): 40 ms instead of 4.
const http = process.getBuiltinModule('node:http');

const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const KEEP_ALIVE_MS = 30_000;

const parseError = parser(
  Type.Object({
    error: Type.Object({
      code: Type.String(),
      message: Type.String(),
      detail: Type.Optional(Type.Unknown()),
    }),
  }),
);

/** One call of a supernode's HTTP API, over whatever leads there. */
export interface JsonCall {
  /** Method, path, and where: a socket, or what `urlToHttpOptions()` makes of a URL; without an agent it has a connection of its own. */
  readonly target: Omit<RequestOptions, 'headers'>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** Sent instead of a body, as it is. */
  readonly content?: { readonly stream: Readable; readonly length: number } | undefined;
  /** Silence after which nobody answers. */
  readonly timeoutMs: number;
  /** The error for a connection that failed. */
  readonly unreachable: (cause: Error) => Error;
}

/**
 * The JSON of the answer, undefined when it is empty. Throws what the API refuses with, what `unreachable` says, and
 * ERR_PROTOCOL when what answers is no supernode.
 */
export async function callJson(call: JsonCall): Promise<unknown> {
  const response = await send(call);
  const body = await jsonOf(response);
  // Whoever answers before he has all of it wants no more of it.
  call.content?.stream.destroy();
  const { statusCode = 0 } = response;
  if (statusCode >= 200 && statusCode < 300) return body;
  throw CodedError.fromObject(parseError(body).error);
}

/**
 * The objects of an answer that has one a line, as they come; throws as `callJson()` does. Once it has begun there may
 * be nothing to tell for hours: whether the other machine is there at all is for TCP to ask.
 */
export async function* callJsonLines(call: JsonCall): AsyncGenerator {
  const response = await answerTo(call);
  response.socket.setTimeout(0);
  response.socket.setKeepAlive(true, KEEP_ALIVE_MS);
  let rest = '';
  response.setEncoding('utf8');
  try {
    for await (const chunk of response) {
      rest += String(chunk);
      if (rest.length > MAX_ANSWER_BYTES) {
        throw new CodedError('ERR_PROTOCOL', 'a line of the answer is too long');
      }
      const lines = rest.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) yield parsed(line);
    }
  } catch (error) {
    throw error instanceof CodedError || !(error instanceof Error)
      ? error
      : call.unreachable(error);
  } finally {
    response.destroy();
  }
  if (rest !== '') yield parsed(rest);
}

/** The bytes of the answer, as they come; throws as `callJson()` does, also when the answer is cut. */
export async function* callBytes(call: JsonCall): AsyncGenerator<Uint8Array> {
  const response = await answerTo(call);
  try {
    for await (const chunk of response) if (Buffer.isBuffer(chunk)) yield chunk;
  } catch (error) {
    throw error instanceof Error ? call.unreachable(error) : error;
  } finally {
    response.destroy();
  }
}

/** The answer of one who does not refuse. */
async function answerTo(call: JsonCall): Promise<IncomingMessage> {
  const response = await send(call);
  const { statusCode = 0 } = response;
  if (statusCode >= 200 && statusCode < 300) return response;
  throw CodedError.fromObject(parseError(await jsonOf(response)).error);
}

async function send({
  target,
  body,
  content,
  timeoutMs,
  unreachable,
  ...call
}: JsonCall): Promise<IncomingMessage> {
  const payload = body === undefined ? '' : JSON.stringify(body);
  const headers = {
    ...call.headers,
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    'content-length': content?.length ?? Buffer.byteLength(payload),
  };
  const isSecure = target.protocol === 'https:';
  const { request: begin } = isSecure ? process.getBuiltinModule('node:https') : http;
  return new Promise((resolve, reject) => {
    const request = begin({ agent: false, ...target, headers, timeout: timeoutMs });
    request.once('response', resolve);
    request.once('timeout', () => request.destroy(new Error('no answer in time')));
    request.once('error', (error) => reject(unreachable(error)));
    if (content === undefined) {
      request.end(payload);
      return;
    }
    // What cannot be read is not the other side's fault; after the answer nobody listens any more.
    content.stream.on('error', reject);
    request.on('error', () => undefined);
    pipeline(content.stream, request, () => undefined);
  });
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
  return parsed(Buffer.concat(chunks).toString());
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CodedError('ERR_PROTOCOL', 'what answers is no supernode: no JSON', { cause });
  }
}
