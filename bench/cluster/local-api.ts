import { request as httpRequest } from 'node:http';
import type { IncomingMessage, RequestOptions } from 'node:http';
import { createInterface } from 'node:readline';
import { CodedError } from '../../core/base/error.ts';
import type { DownloadEvent, DownloadRequest } from '../../core/swarm/download-events.ts';

/** Where an HTTP API of a program is: a Unix socket, or a port. */
export type ApiAddress = Pick<RequestOptions, 'socketPath' | 'host' | 'port'>;

/** One question to an HTTP API. */
export interface ApiQuestion {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
}

/** An answer of an HTTP API. */
export interface ApiAnswer {
  readonly status: number;
  readonly text: string;
}

/** Asks once and reads the whole answer. */
export async function askApi(
  address: ApiAddress,
  path: string,
  question: ApiQuestion = {},
): Promise<ApiAnswer> {
  const message = await send(address, path, question);
  message.setEncoding('utf8');
  let text = '';
  for await (const chunk of message) text += String(chunk);
  return { status: message.statusCode ?? 0, text };
}

/** The JSON of a 200; throws ERR_REQUEST otherwise. */
export async function askJson(
  address: ApiAddress,
  path: string,
  question: ApiQuestion = {},
): Promise<unknown> {
  const { status, text } = await askApi(address, path, question);
  if (status === 200) return JSON.parse(text);
  throw new CodedError('ERR_REQUEST', `${question.method ?? 'GET'} ${path}: ${status} ${text}`);
}

/** The events of one download by a dfdaemon, asked over its socket; ends after `done` or `failed`. */
export async function* downloadEvents(
  socketPath: string,
  body: DownloadRequest,
  options: { readonly signal?: AbortSignal } = {},
): AsyncGenerator<DownloadEvent, void, undefined> {
  const question = { method: 'POST', body, signal: options.signal };
  const message = await send({ socketPath }, '/v1/downloads', question);
  for await (const line of createInterface({ input: message })) {
    if (message.statusCode !== 200) throw new CodedError('ERR_REQUEST', line);
    yield JSON.parse(line) as DownloadEvent;
  }
}

async function send(
  address: ApiAddress,
  path: string,
  question: ApiQuestion,
): Promise<IncomingMessage> {
  const { method = 'GET', headers = {}, body, signal } = question;
  const text = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const typed = text === undefined ? headers : { ...headers, 'content-type': 'application/json' };
    const options = { ...address, path, method, headers: typed, agent: false as const };
    const request = httpRequest(
      { ...options, ...(signal === undefined ? {} : { signal }) },
      resolve,
    );
    request.once('error', reject).end(text);
  });
}
