/**
 * What is done with a request that comes to the forward proxy: the first rule that matches decides. Patterns are those
 * of RE2, matched in linear time whatever they are and whatever URL a client sends.
 */
import { RE2JS } from 're2js';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { priorities } from '../../core/base/priority.ts';
import type { Priority } from '../../core/base/priority.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { defaultRules } from './rules-default.ts';
import type { Headers } from './forward-headers.ts';

const MAX_RULES = 256;
const MAX_PATTERN_LENGTH = 1000;
/** Of the counts of one pattern together: each is as many states, and every letter of a URL may visit them all. */
const MAX_REPEATS = 1000;
const MAX_URL_LENGTH = 8192;

const HeaderName = "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$";
const HeaderValue = '^[\\t\\x20-\\x7e\\x80-\\xff]*$';
const Pattern = Type.String({ minLength: 1, maxLength: MAX_PATTERN_LENGTH });
const Value = Type.String({ maxLength: 8192, pattern: HeaderValue });

const RuleSchema = Type.Object({
  url: Pattern,
  methods: Type.Optional(
    Type.Array(Type.String({ pattern: '^[A-Z]{1,32}$' }), { minItems: 1, maxItems: 16 }),
  ),
  headers: Type.Optional(Type.Record(Type.String(), Pattern)),
  to: Type.Union([Type.Literal('mesh'), Type.Literal('direct'), Type.Literal('reject')]),
  filteredQueryParams: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 256 }), { maxItems: 64 }),
  ),
  priority: Type.Optional(Type.Enum([...priorities])),
  setHeaders: Type.Optional(Type.Record(Type.String(), Value)),
  removeHeaders: Type.Optional(Type.Array(Type.String({ pattern: HeaderName }), { maxItems: 64 })),
  rewrite: Type.Optional(
    Type.Object({
      from: Type.Optional(Pattern),
      to: Type.String({ minLength: 1, maxLength: MAX_URL_LENGTH }),
    }),
  ),
});

/** A rule as it stands in the configuration; docs/proxy.md says what each field does. */
export type ProxyRule = Static<typeof RuleSchema>;

const parseRule = parser(RuleSchema, { code: 'ERR_CONFIG', strict: true });
const headerName = new RegExp(HeaderName);

/** What a request is judged by. */
export interface RuledRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Headers;
}

/** What is done with a request. */
export interface Decision {
  readonly to: ProxyRule['to'];
  /** Where it goes: rewritten, or as asked. */
  readonly url: URL;
  /** Headers of the request once the rule has changed them. */
  readonly headers: Headers;
  readonly filteredQueryParams: readonly string[];
  /** Of what comes from the mesh; absent: interactive. */
  readonly priority?: Priority;
  /** For messages: `rule 3`, or `default rule 1`; undefined where no rule matched. */
  readonly rule: string | undefined;
}

interface CompiledRule {
  readonly rule: ProxyRule;
  readonly name: string;
  readonly url: RE2JS;
  readonly headers: readonly (readonly [name: string, value: RE2JS])[];
  readonly rewriteFrom: RE2JS;
}

/** An ordered list of rules, those of the program at its end. */
export class ProxyRules {
  readonly #rules: readonly CompiledRule[];

  /** Throws ERR_CONFIG naming the rule and the field that is wrong. */
  constructor(configured: readonly unknown[]) {
    if (configured.length > MAX_RULES) {
      throw new CodedError('ERR_CONFIG', `proxy-rules: more than ${MAX_RULES} rules`);
    }
    this.#rules = [
      ...configured.map((rule, at) => compileRule(rule, `rule ${at + 1}`)),
      ...defaultRules.map((rule, at) => compileRule(rule, `default rule ${at + 1}`)),
    ];
  }

  /** Throws ERR_URL when a rule rewrites the URL into something that is none. */
  decide(request: RuledRequest): Decision {
    const text = request.url.href;
    const match = this.#rules.find((rule) => matches(rule, request, text));
    if (match === undefined) {
      const { url, headers } = request;
      return { to: 'direct', url, headers, filteredQueryParams: [], rule: undefined };
    }
    const { rule, name } = match;
    return {
      to: rule.to,
      url: rewritten(match, request.url),
      headers: changedHeaders(rule, request.headers),
      filteredQueryParams: rule.filteredQueryParams ?? [],
      ...(rule.priority === undefined ? {} : { priority: rule.priority }),
      rule: name,
    };
  }
}

function compileRule(value: unknown, name: string): CompiledRule {
  try {
    const rule = parseRule(value);
    for (const header of Object.keys({ ...rule.headers, ...rule.setHeaders })) {
      if (!headerName.test(header)) throw wrong(`not a name of a header: ${header.slice(0, 100)}`);
    }
    const url = compile(rule.url);
    const headers = Object.entries(rule.headers ?? {}).map(
      ([header, pattern]) => [header.toLowerCase(), compile(pattern)] as const,
    );
    const from = rule.rewrite?.from;
    return { rule, name, url, headers, rewriteFrom: from === undefined ? url : compile(from) };
  } catch (error) {
    const { message } = CodedError.from(error);
    throw new CodedError('ERR_CONFIG', `proxy-rules: ${name}: ${message}`, { cause: error });
  }
}

function compile(pattern: string): RE2JS {
  const repeats = [...pattern.matchAll(/\{(\d+)(?:,(\d*))?\}/g)];
  const sum = repeats.reduce((all, [, least, most]) => all + Number(most || least), 0);
  if (sum > MAX_REPEATS) {
    throw wrong(`the counts in ${JSON.stringify(pattern.slice(0, 100))} are too large together`);
  }
  try {
    return RE2JS.compile(pattern);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw wrong(`not a regular expression of RE2 (${reason.slice(0, 200)})`);
  }
}

function matches(compiled: CompiledRule, request: RuledRequest, text: string): boolean {
  const { rule, url, headers } = compiled;
  if (rule.methods?.includes(request.method) === false) return false;
  if (!url.matcher(text).find()) return false;
  return headers.every(([name, pattern]) => {
    const value = request.headers[name];
    if (value === undefined) return false;
    return pattern.matcher(typeof value === 'string' ? value : value.join(', ')).find();
  });
}

function rewritten({ rule, rewriteFrom, name }: CompiledRule, url: URL): URL {
  if (rule.rewrite === undefined) return url;
  const text = rewriteFrom.matcher(url.href).replaceFirst(rule.rewrite.to, true);
  const result = text.length > MAX_URL_LENGTH ? null : URL.parse(text);
  if (result !== null && /^https?:$/.test(result.protocol)) return result;
  throw new CodedError('ERR_URL', `${name} of the proxy makes no http or https URL of this one`);
}

function changedHeaders(rule: ProxyRule, headers: Headers): Headers {
  if (rule.removeHeaders === undefined && rule.setHeaders === undefined) return headers;
  const removed = new Set(rule.removeHeaders?.map((name) => name.toLowerCase()));
  const kept = Object.entries(headers).filter(([name]) => !removed.has(name));
  const set = Object.entries(rule.setHeaders ?? {}).map(([name, value]) => [
    name.toLowerCase(),
    value,
  ]);
  return Object.fromEntries([...kept, ...set]);
}

function wrong(message: string): CodedError {
  return new CodedError('ERR_CONFIG', message);
}
