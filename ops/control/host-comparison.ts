import { parseDuration, parseSize } from '../../core/base/units.ts';
import { expressionLimits } from './expression-tokens.ts';
import type { Token, TokenReader } from './expression-tokens.ts';
import { hostValues } from './host-values.ts';
import type { HostValues, ValueKind, ValueName } from './host-values.ts';
import { fits } from './policy.ts';

/** Undefined: something that would decide it is not known of the host. */
export type Truth = boolean | undefined;
export type Condition = (values: HostValues) => Truth;

type Value = string | number;

const orders: Readonly<Record<string, (one: number, other: number) => boolean>> = {
  '<': (one, other) => one < other,
  '<=': (one, other) => one <= other,
  '>': (one, other) => one > other,
  '>=': (one, other) => one >= other,
};
const COUNT = /^\d{1,15}(?:\.\d{1,6})?$/;
const PERCENT = /^(\d{1,3}(?:\.\d{1,6})?)%?$/;
const keywords = new Set(['and', 'or', 'not', 'in', 'like']);

/** How values of a kind are written; undefined for what is none. */
const readers: Readonly<
  Record<ValueKind, { readonly read: (text: string) => Value | undefined; readonly help: string }>
> = {
  text: { read: (text) => text, help: 'text, in quotes where it is not one plain word' },
  count: { read: (text) => (COUNT.test(text) ? Number(text) : undefined), help: 'a number' },
  bytes: { read: parseSize, help: 'a size, as 4GiB, 512MiB or a number of bytes' },
  seconds: {
    read: (text) => {
      const ms = parseDuration(text);
      return ms === undefined ? undefined : ms / 1000;
    },
    help: 'a time, as 90s, 1h30m or 7d',
  },
  percent: {
    read: (text) => {
      const [, number] = PERCENT.exec(text) ?? [];
      return number === undefined ? undefined : Number(number);
    },
    help: 'a share, as 90%',
  },
};

/** What comes after the name of a value: `> 4GiB`, `= x64`, `in (a, b)`, `not in (a, b)`, `like "web-*"`. */
export function parseComparison(tokens: TokenReader, name: ValueName): Condition {
  const { kind } = hostValues[name];
  const isDenied = tokens.takes('not');
  if (tokens.takes('in')) return turned(isOneOf(name, listOf(tokens, kind)), isDenied);
  const sign = tokens.take();
  if (sign.kind === 'word' && sign.text.toLowerCase() === 'like') {
    if (kind !== 'text') throw tokens.wrong(sign, `${name} is no text: use = != < <= > >= or in`);
    return turned(isLike(name, patternOf(tokens)), isDenied);
  }
  if (isDenied) throw tokens.wrong(sign, 'expected "in" or "like" after "not"');
  const isEqual = sign.text === '=' || sign.text === '==';
  if (sign.kind === 'sign' && (isEqual || sign.text === '!=')) {
    return turned(isOneOf(name, new Set([valueOf(tokens, kind)])), !isEqual);
  }
  const order = sign.kind === 'sign' ? orders[sign.text] : undefined;
  if (order === undefined) throw tokens.wrong(sign, `expected = != < <= > >= in or like`);
  if (kind === 'text') throw tokens.wrong(sign, `${name} is text: use = != in or like`);
  const bound = Number(valueOf(tokens, kind));
  return (values) => {
    const value = values[name];
    return typeof value === 'number' ? order(value, bound) : undefined;
  };
}

function isOneOf(name: ValueName, wanted: ReadonlySet<Value>): Condition {
  return (values) => {
    const value = values[name];
    return value === undefined ? undefined : wanted.has(value);
  };
}

function isLike(name: ValueName, pattern: string): Condition {
  return (values) => {
    const value = values[name];
    return typeof value === 'string' ? fits(pattern, value) : undefined;
  };
}

function turned(condition: Condition, isTurned: boolean): Condition {
  if (!isTurned) return condition;
  return (values) => {
    const truth = condition(values);
    return truth === undefined ? undefined : !truth;
  };
}

function listOf(tokens: TokenReader, kind: ValueKind): ReadonlySet<Value> {
  const open = tokens.take();
  if (open.kind !== 'sign' || open.text !== '(') {
    throw tokens.wrong(open, 'expected a list, as (a, b)');
  }
  const values = new Set([valueOf(tokens, kind)]);
  while (tokens.takes(',')) values.add(valueOf(tokens, kind));
  const close = tokens.take();
  if (close.kind === 'sign' && close.text === ')') return values;
  throw tokens.wrong(close, 'expected "," or ")" in a list');
}

function valueOf(tokens: TokenReader, kind: ValueKind): Value {
  const token = tokens.take();
  const { read, help } = readers[kind];
  const value = isWritten(token) ? read(token.text) : undefined;
  if (value === undefined) throw tokens.wrong(token, `expected ${help}`);
  return value;
}

function patternOf(tokens: TokenReader): string {
  const token = tokens.take();
  if (!isWritten(token)) throw tokens.wrong(token, 'expected a pattern, as "web-*"');
  const { pattern, stars } = expressionLimits;
  const { text } = token;
  if (text.length <= pattern && text.split('*').length - 1 <= stars) return text;
  throw tokens.wrong(token, `a pattern has at most ${pattern} characters and ${stars} stars`);
}

/** A keyword is taken as a value only in quotes: mostly something was left out before it. */
function isWritten({ kind, text }: Token): boolean {
  return kind === 'text' || (kind === 'word' && !keywords.has(text.toLowerCase()));
}
