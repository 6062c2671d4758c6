import type { Agent } from 'node:http';
import type { Readable } from 'node:stream';
import { urlToHttpOptions } from 'node:url';
import type { TSchema } from 'typebox';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { callBytes, callJson, callJsonLines } from '../../core/net/json-call.ts';
import type { JsonCall } from '../../core/net/json-call.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { VerbAsk, VerbCall } from '../control/verb-request.ts';
import type { VerbInput, VerbName } from '../control/verbs.ts';
import { answers } from './answers.ts';
import type { VerbAnswer } from './answers.ts';

const TIMEOUT_MS = 30_000;
/** After the last byte the supernode has to bring all of them to its disk. */
const UPLOAD_TIMEOUT_MS = 300_000;

/** One call of what is no verb. */
export interface ApiCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With query, from the first slash on. */
  readonly path: string;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
}

/** How a verb is asked. */
export interface AskOptions {
  readonly signal?: AbortSignal | undefined;
  /** Of a verb whose body is bytes: sent as it is, and closed. */
  readonly content?: { readonly stream: Readable; readonly length: number } | undefined;
}

/** Verbs that are lists in pages, each with what comes `after` an entry. */
export type ListVerb = {
  [Name in VerbName]: 'after' extends keyof VerbInput<Name>
    ? VerbAnswer<Name> extends { readonly items: readonly unknown[] }
      ? Name
      : never
    : never;
}[VerbName];

/** An entry of such a list. */
export type ItemOf<Name extends ListVerb> =
  VerbAnswer<Name> extends { readonly items: readonly (infer Item)[] } ? Item : never;

interface PageOf<Name extends ListVerb> {
  readonly items: readonly ItemOf<Name>[];
  readonly next?: string;
}

const PAGE = 1_000;
const parsers = new Map(
  Object.entries<TSchema>(answers).map(([name, schema]) => [name, parser(schema)]),
);

/** The HTTP API of a supernode. */
export class ApiClient {
  readonly #base: URL;
  readonly #key: string | undefined;
  readonly #approval: string | undefined;
  readonly #agent: Agent | undefined;

  /** `approval`: id of the one that is quoted for whatever is asked; `agent`: keeps connections for who asks much. */
  constructor(
    base: string,
    key: string | undefined,
    {
      approval,
      agent,
    }: { readonly approval?: string | undefined; readonly agent?: Agent | undefined } = {},
  ) {
    this.#base = new URL(base);
    this.#key = key;
    this.#approval = approval;
    this.#agent = agent;
  }

  /**
   * What a verb answers. Throws what the API refuses with, ERR_REQUEST with the path of a field that the verb has not or
   * that does not fit, before anything is sent, and ERR_MESH_UNAVAILABLE when nobody answers.
   */
  async ask<const Name extends VerbName>(
    name: Name,
    input: VerbAsk<Name>,
    options: AskOptions = {},
  ): Promise<VerbAnswer<Name>> {
    const answer = await callJson(await this.#callOf(name, input, options));
    if (isAnswer(name, answer)) return answer;
    throw new TypeError(`${name} has no such answer`);
  }

  /** What a verb answers of which each line is an object, as they come. */
  async *follow<const Name extends VerbName>(
    name: Name,
    input: VerbAsk<Name>,
    options: AskOptions = {},
  ): AsyncGenerator<VerbAnswer<Name>, void, undefined> {
    for await (const line of callJsonLines(await this.#callOf(name, input, options))) {
      if (isAnswer(name, line)) yield line;
    }
  }

  /** All entries of a list that comes in pages. */
  async *pages<const Name extends ListVerb>(
    name: Name,
    input: Omit<VerbAsk<Name>, 'limit' | 'after'>,
    options: AskOptions = {},
  ): AsyncGenerator<ItemOf<Name>, void, undefined> {
    for (let after: string | undefined = ''; after !== undefined;) {
      const asked = after === '' ? input : { ...input, after };
      const call: JsonCall = await this.#callOf(name, { ...asked, limit: PAGE }, options);
      const page: unknown = await callJson(call);
      if (!isPage(name, page)) return;
      yield* page.items;
      after = page.next;
    }
  }

  /** The bytes of what a verb answers, as they come. */
  async *download<const Name extends VerbName>(
    name: Name,
    input: VerbAsk<Name>,
    options: AskOptions = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    yield* callBytes(await this.#callOf(name, input, options));
  }

  /** The JSON that answers what is no verb; throws as `ask()` does. */
  async send({ signal, ...call }: ApiCall): Promise<unknown> {
    return callJson(this.#call({ body: undefined, ...call }, { signal }));
  }

  async #callOf(name: VerbName, input: object, options: AskOptions): Promise<JsonCall> {
    // What is not asked need not be known: help is printed in half the time.
    const { callOf } = await import('../control/verb-request.ts');
    return this.#call(callOf(name, input), options);
  }

  #call({ method, path, body }: VerbCall, { content, signal }: AskOptions): JsonCall {
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
        ...(this.#agent === undefined ? {} : { agent: this.#agent }),
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

function isAnswer<Name extends VerbName>(name: Name, said: unknown): said is VerbAnswer<Name> {
  parsers.get(name)?.(said);
  return true;
}

function isPage<Name extends ListVerb>(name: Name, said: unknown): said is PageOf<Name> {
  return isAnswer(name, said);
}
