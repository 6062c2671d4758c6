import type { Readable } from 'node:stream';
import { urlToHttpOptions } from 'node:url';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { callBytes, callJson, callJsonLines } from '../../core/net/json-call.ts';
import type { JsonCall } from '../../core/net/json-call.ts';

const TIMEOUT_MS = 30_000;
/** After the last byte the supernode has to bring all of them to its disk. */
const UPLOAD_TIMEOUT_MS = 300_000;

/** One call. */
export interface ApiCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With query, from the first slash on. */
  readonly path: string;
  readonly body?: unknown;
  /** Sent instead of a body, as it is, and closed. */
  readonly content?: { readonly stream: Readable; readonly length: number } | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The HTTP API of a supernode. */
export class ApiClient {
  readonly #base: URL;
  readonly #key: string | undefined;
  readonly #approval: string | undefined;

  /** `approval`: id of the one that is quoted for whatever is asked. */
  constructor(
    base: string,
    key: string | undefined,
    { approval }: { readonly approval?: string | undefined } = {},
  ) {
    this.#base = new URL(base);
    this.#key = key;
    this.#approval = approval;
  }

  /** The JSON of the answer; throws what the API refuses with, ERR_MESH_UNAVAILABLE when nobody answers. */
  async ask(call: ApiCall): Promise<unknown> {
    return callJson(this.#call(call));
  }

  /** The objects of an answer that has one a line, as they come. */
  follow(call: ApiCall): AsyncIterable<unknown> {
    return callJsonLines(this.#call(call));
  }

  /** The bytes of an answer, as they come. */
  download(call: ApiCall): AsyncIterable<Uint8Array> {
    return callBytes(this.#call(call));
  }

  #call({ method, path, body, content, signal }: ApiCall): JsonCall {
    const url = new URL(this.#base.pathname.replace(/\/$/, '') + path, this.#base);
    const headers = {
      ...(this.#key === undefined ? {} : { authorization: `Bearer ${this.#key}` }),
      ...(this.#approval === undefined ? {} : { 'odonata-approval': this.#approval }),
    };
    return {
      target: {
        ...urlToHttpOptions(url),
        method,
        ...(signal === undefined ? {} : { signal }),
      },
      headers,
      body,
      content,
      timeoutMs: content === undefined ? TIMEOUT_MS : UPLOAD_TIMEOUT_MS,
      unreachable: (cause) => unreachable(url, cause, signal),
    };
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
