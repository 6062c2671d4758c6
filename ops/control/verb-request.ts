// How a verb is asked over HTTP: one table says it to both ends, and what does not fit the verb's schema leaves neither.
import { parser } from '../../core/wire/parse-message.ts';
import { verbs } from './verbs.ts';
import type { Verb, VerbInput, VerbName } from './verbs.ts';

/** Where in a request the fields of a verb are, by name. */
export interface Placement {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With `:id` for a field. */
  readonly path: string;
  readonly inPath: readonly string[];
  readonly inQuery: readonly string[];
  readonly inBody: readonly string[];
}

/** A request that is to be sent. */
export interface VerbCall {
  readonly method: Placement['method'];
  /** With query, from the first slash on. */
  readonly path: string;
  /** Undefined: none, or bytes. */
  readonly body: unknown;
}

/** What a verb is asked with, where a field that is undefined is none. */
export type VerbAsk<Name extends VerbName> = {
  readonly [Field in keyof VerbInput<Name>]:
    | VerbInput<Name>[Field]
    | (Record<never, never> extends Pick<VerbInput<Name>, Field> ? undefined : never);
};

const methods = ['GET', 'POST', 'PUT', 'DELETE'] as const;
const parsers = new Map(
  Object.entries<Verb>(verbs).map(([name, { schema }]) => [
    name,
    parser(schema, { code: 'ERR_REQUEST', strict: true }),
  ]),
);

/** The input of a verb; ERR_REQUEST with the path of the field that does not fit, or is not known. */
export function parseInput<Name extends VerbName>(name: Name, value: unknown): VerbInput<Name> {
  if (isInput(name, value)) return value;
  throw new TypeError(`there is no verb ${name}`);
}

function isInput<Name extends VerbName>(name: Name, value: unknown): value is VerbInput<Name> {
  const parse = parsers.get(name);
  parse?.(value);
  return parse !== undefined;
}

export function placementOf({ at, schema, content }: Verb): Placement {
  const [word = '', path = ''] = at.split(' ');
  const method = methods.find((one) => one === word);
  if (method === undefined) throw new TypeError(`no method: ${at}`);
  const inPath = [...path.matchAll(/:([A-Za-z]+)/g)].map(([, field = '']) => field);
  const rest = Object.keys(schema.properties).filter(
    (field) => !inPath.includes(field) && field !== content,
  );
  const hasBody = method === 'POST' || method === 'PUT';
  return { method, path, inPath, inQuery: hasBody ? [] : rest, inBody: hasBody ? rest : [] };
}

/** What asks for a verb; ERR_REQUEST with the path of the field that does not fit, or is not known. */
export function callOf(name: VerbName, input: object): VerbCall {
  const verb: Verb = verbs[name];
  const all: [string, unknown][] = Object.entries(input);
  const given = all.filter(([, value]) => value !== undefined);
  const fields = Object.fromEntries(given);
  parseInput(name, fields);
  const { method, path, inQuery, inBody } = placementOf(verb);
  const filled = path.replaceAll(/:([A-Za-z]+)/g, (_all, field: string) =>
    encodeURIComponent(String(fields[field])),
  );
  const query = new URLSearchParams();
  for (const [field, value] of given) if (inQuery.includes(field)) query.set(field, String(value));
  const some = Object.fromEntries(given.filter(([field]) => inBody.includes(field)));
  const body = inBody.length === 0 ? undefined : some;
  return {
    method,
    path: query.size === 0 ? filled : `${filled}?${query.toString()}`,
    body: verb.body === undefined ? body : fields[verb.body],
  };
}
