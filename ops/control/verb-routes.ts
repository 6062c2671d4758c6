import type { IncomingMessage } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { TObject, TSchema } from 'typebox';
import type { ApiApp } from '../../core/base/api-app.ts';
import { CodedError } from '../../core/base/error.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { CallerOf } from './door-app.ts';
import type { Effect } from './door-effect.ts';
import type { Door } from './door.ts';
import type { Caller } from './principal.ts';
import { parseInput, placementOf } from './verb-request.ts';
import { verbs } from './verbs.ts';
import type { ChangeVerb, ReadVerb, Verb, VerbInput, VerbName } from './verbs.ts';

/** How routes come to what they need at each request. */
export interface VerbRoutesOptions {
  readonly callerOf: CallerOf;
  readonly door: () => Pick<Door, 'perform' | 'read'>;
}

/** Somebody asks for a verb. */
export interface VerbRequest<Name extends VerbName> {
  /** Path, query and body together, as the verb's schema has it. */
  readonly input: VerbInput<Name>;
  readonly caller: Caller;
  readonly raw: IncomingMessage;
  readonly reply: FastifyReply;
}

/** What an answer or a route has of its own. */
export interface RouteChoices {
  /** Of an answer that has a body; default 200. */
  readonly status?: 201 | 202;
  /** True: the answer holds a secret. */
  readonly isSecret?: boolean;
  /** Most bytes of a body. */
  readonly bodyLimit?: number;
}

const parseNothing = parser(Type.Object({}), { code: 'ERR_REQUEST', strict: true });

/** Adds the routes of verbs to a server, as the table says. */
export class VerbRoutes {
  readonly #app: ApiApp;
  readonly #options: VerbRoutesOptions;

  constructor(app: ApiApp, options: VerbRoutesOptions) {
    this.#app = app;
    this.#options = options;
  }

  /** A verb that looks at something, through the door. */
  read<const Name extends ReadVerb>(
    name: Name,
    look: (input: VerbInput<Name>, caller: Caller) => unknown,
  ): void {
    this.handle(name, ({ input, caller }) => {
      const object = { id: objectOf(name, input) };
      return this.#options
        .door()
        .read({ verb: name, caller, input, object }, () => look(input, caller));
    });
  }

  /** A verb that changes something, through the door. */
  perform<const Name extends ChangeVerb>(
    name: Name,
    effect: (input: VerbInput<Name>, caller: Caller) => Effect<unknown> | Promise<Effect<unknown>>,
    choices?: RouteChoices,
  ): void {
    const perform = ({ input, caller }: VerbRequest<Name>): Promise<unknown> => {
      const object = { id: objectOf(name, input) };
      return this.#options
        .door()
        .perform({ verb: name, caller, input, object }, async () => effect(input, caller));
    };
    this.handle(name, perform, choices);
  }

  /** A verb whose handler goes through the door by itself. Answers 204 when it has nothing to say. */
  handle<const Name extends VerbName>(
    name: Name,
    handler: (request: VerbRequest<Name>) => unknown,
    { status, isSecret = false, bodyLimit }: RouteChoices = {},
  ): void {
    const verb: Verb = verbs[name];
    const { method, path } = placementOf(verb);
    this.#app.route({
      method,
      url: path,
      schema: schemasOf(name),
      ...(bodyLimit === undefined ? {} : { bodyLimit }),
      handler: async (request: FastifyRequest, reply: FastifyReply) => {
        const input = parseInput(name, fieldsOf(verb, request));
        const caller = this.#options.callerOf(request);
        const answer: unknown = await handler({ input, caller, raw: request.raw, reply });
        // The handler has taken the connection over.
        if (reply.sent) return reply;
        if (isSecret) void reply.header('cache-control', 'no-store');
        if (answer === undefined) return reply.code(204).send();
        return reply.code(status ?? 200).send(answer);
      },
    });
  }
}

/** The parts of a request, each by the fields that are in it, and what OpenAPI says of the verb besides. */
function schemasOf(name: VerbName): object {
  const verb: Verb = verbs[name];
  const { inPath, inQuery, inBody } = placementOf(verb);
  const body = verb.body === undefined ? some(verb, inBody) : verb.schema.properties[verb.body];
  return {
    operationId: name,
    params: some(verb, inPath),
    querystring: some(verb, inQuery),
    ...(inBody.length === 0 ? {} : { body }),
    'x-verb': name,
    'x-permission': verb.permission,
    'x-risk': verb.risk,
  };
}

function some({ schema }: Verb, fields: readonly string[]): TObject {
  const chosen = Object.entries<TSchema>(schema.properties).filter(([field]) =>
    fields.includes(field),
  );
  return Type.Object(Object.fromEntries(chosen));
}

/** What was sent, in one; ERR_REQUEST for a body where there is to be none. */
function fieldsOf(verb: Verb, { params, query, body, raw }: FastifyRequest): object {
  const { inBody } = placementOf(verb);
  const placed = { ...objectFrom(params), ...objectFrom(query) };
  if (verb.content !== undefined) return { ...placed, [verb.content]: lengthOf(raw) };
  if (verb.body !== undefined) return { ...placed, [verb.body]: body };
  if (inBody.length === 0 && body !== undefined && body !== null) parseNothing(body);
  return { ...placed, ...objectFrom(body) };
}

function objectFrom(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : {};
}

function objectOf(name: VerbName, input: object): string {
  const { object }: Verb = verbs[name];
  return object === undefined ? '' : String(Reflect.get(input, object));
}

function lengthOf({ headers }: IncomingMessage): number {
  const length = Number(headers['content-length'] ?? Number.NaN);
  if (Number.isSafeInteger(length)) return length;
  const message = 'content-length: must be sent, so that room can be made before anything is';
  throw new CodedError('ERR_REQUEST', message, { detail: { path: 'content-length' } });
}
