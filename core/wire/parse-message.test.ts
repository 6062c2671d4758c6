import test from 'ava';
import { assert, jsonValue, property } from 'fast-check';
import { Type } from 'typebox';
import { CodedError } from '../base/error.ts';
import { FromHost, FromSupernode, Hello, Report } from './messages.ts';
import { parser } from './parse-message.ts';

const task = 'a'.repeat(64);
const version = 'b'.repeat(16);

function refusalOf(parse: (value: unknown) => unknown, value: unknown): CodedError {
  try {
    parse(value);
  } catch (error) {
    if (error instanceof CodedError) return error;
    throw error;
  }
  throw new Error('was accepted');
}

test('parser() returns the very value that fits, and leaves it alone', (t) => {
  const value = { type: 'report', tasks: [{ task, version, had: [1, 2] }] };
  const before = structuredClone(value);
  t.is(parser(Report)(value), value as never);
  t.deepEqual(value, before);
});

test('parser() names the path of the wrong field and what was expected', (t) => {
  const parse = parser(Report);
  const cases: readonly [unknown, string][] = [
    [{ type: 'report', tasks: [{ task, version: 3 }] }, '/tasks/0/version: expected string'],
    [{ type: 'report', tasks: [{ task }] }, '/tasks/0/version: is missing'],
    [
      { type: 'report', tasks: [{ task, version, had: [1, 'x'] }] },
      '/tasks/0/had/1: expected integer',
    ],
    [{ type: 'report' }, '/tasks: is missing'],
    [{ type: 'rapport', tasks: [] }, '/type: expected "report"'],
    ['report', '/: expected object'],
    [null, '/: expected object'],
  ];
  for (const [value, message] of cases) {
    const error = refusalOf(parse, value);
    t.is(error.message, message);
    t.is(error.code, 'ERR_PROTOCOL');
    t.is(error.detail['path'], message.split(':')[0]);
  }
});

test('parser() of a union speaks of the branch the value claims to be', (t) => {
  const parse = parser(FromHost);
  const report = { type: 'report', tasks: [{ task, version, complete: 'yes' }] };
  t.is(refusalOf(parse, report).message, '/tasks/0/complete: expected boolean');
  t.regex(refusalOf(parse, { type: 'nonsense' }).message, /^\/type: expected one of "register", /);
  t.regex(refusalOf(parse, {}).message, /^\/type: expected one of /);
  t.is(refusalOf(parse, 7).message, '/: expected object');
});

test('parser() ignores unknown keys by default, and strict refuses them at any depth', (t) => {
  const schema = Type.Object({
    name: Type.String(),
    inner: Type.Optional(Type.Object({ size: Type.Integer() })),
    labels: Type.Optional(Type.Record(Type.String(), Type.String())),
    list: Type.Optional(Type.Array(Type.Union([Type.Object({ a: Type.String() }), Type.Null()]))),
  });
  const extra = { name: 'x', inner: { size: 1, colour: 'red' }, more: 1 };
  t.is(parser(schema)(extra), extra as never);
  const strict = parser(schema, { strict: true, code: 'ERR_REQUEST' });
  const error = refusalOf(strict, { name: 'x', inner: { size: 1, colour: 'red' } });
  t.is(error.message, '/inner/colour: is not known');
  t.is(error.code, 'ERR_REQUEST');
  t.is(refusalOf(strict, { name: 'x', more: 1 }).message, '/more: is not known');
  t.regex(refusalOf(strict, { name: 'x', list: [{ a: 'y', b: 1 }] }).message, /^\/list\/0/);
  t.notThrows(() => strict({ name: 'x', labels: { any: 'thing' }, list: [{ a: 'y' }, null] }));
});

test('parser() strict judges an intersection as a whole', (t) => {
  const schema = Type.Intersect([
    Type.Object({ a: Type.String() }),
    Type.Object({ b: Type.Optional(Type.String()) }),
  ]);
  const strict = parser(schema, { strict: true });
  t.notThrows(() => strict({ a: 'x', b: 'y' }));
  t.throws(() => strict({ a: 'x', c: 'z' }), { code: 'ERR_PROTOCOL' });
});

test('parser() strict does not take a property named like a keyword for one', (t) => {
  const schema = Type.Object({ properties: Type.Object({ const: Type.String() }) });
  const strict = parser(schema, { strict: true });
  t.notThrows(() => strict({ properties: { const: 'x' } }));
  t.is(
    refusalOf(strict, { properties: { const: 'x', y: 1 } }).message,
    '/properties/y: is not known',
  );
});

test('parser() is not fooled by keys of prototypes', (t) => {
  const parse = parser(Hello);
  const evil: unknown = JSON.parse(
    '{"__proto__":{"v":1,"record":"r","addresses":[]},"constructor":1}',
  );
  t.throws(() => parse(evil), { code: 'ERR_PROTOCOL' });
  const union = parser(FromSupernode);
  t.throws(() => union(JSON.parse('{"__proto__":{"type":"now","now":1}}')), {
    code: 'ERR_PROTOCOL',
  });
  t.is(Reflect.get({}, 'record'), undefined);
});

test('parser() shows no more than the head of a stranger path', (t) => {
  const schema = Type.Record(Type.String(), Type.String());
  const error = refusalOf(parser(schema), { ['k'.repeat(5000)]: 1 });
  t.true(error.message.length < 300);
});

test('parser() answers any JSON with the value or a coded refusal, never another throw', (t) => {
  const parsers = [parser(FromHost), parser(FromSupernode), parser(Hello, { strict: true })];
  assert(
    property(jsonValue(), (value) => {
      for (const parse of parsers) {
        try {
          parse(value);
        } catch (error) {
          if (!(error instanceof CodedError)) return false;
        }
      }
      return true;
    }),
    { numRuns: 500 },
  );
  t.pass();
});
