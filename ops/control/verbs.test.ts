import { spawnSync } from 'node:child_process';
import test from 'ava';
import { lanes } from '../../core/identity/call-order.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { risks } from './policy-rule.ts';
import { verbOf, verbs } from './verbs.ts';
import type { Verb } from './verbs.ts';

test('every verb has a permission, a kind of record, a risk, a lane, and a schema that takes no stranger', (t) => {
  const table = Object.entries<Verb>(verbs);
  for (const [name, verb] of table) {
    t.regex(name, /^[a-z]+\.[a-z]+$/, name);
    t.regex(verb.permission, /^[a-z]+\.[a-z]+$/, name);
    t.regex(verb.audit, /^[a-z][a-z0-9-]{0,31}(?:\.[a-z][a-z0-9-]{0,31}){0,3}$/, name);
    t.true(risks.includes(verb.risk), name);
    t.true(lanes.includes(verb.lane), name);
    const parse = parser(verb.schema, { code: 'ERR_REQUEST', strict: true });
    t.throws(() => parse({ 'no such field': 1 }), { code: 'ERR_REQUEST' }, name);
    t.throws(() => parse('text'), { code: 'ERR_REQUEST' }, name);
    t.is(verbOf(name), verb);
  }
  for (const [name, { permission, risk, audit, isForNamed }] of table) {
    const whole = verbOf(permission);
    t.like(whole, { permission, risk, audit, isForNamed }, `${name} is no riskier than its whole`);
  }
});

test('verbOf() knows no name that every object has', (t) => {
  for (const name of ['toString', '__proto__', 'constructor', '', 'call']) {
    t.is(verbOf(name), undefined);
  }
});

test('whoever only asks for verbs draws in nothing of the server', (t) => {
  const script = `
    import { registerHooks } from 'node:module';
    registerHooks({ load(url, context, next) { console.log(url); return next(url, context); } });
    await import(${JSON.stringify(import.meta.resolve('./verb-request.ts'))});
  `;
  const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  t.is(status, 0);
  const loaded = stdout.split('\n');
  t.true(loaded.some((url) => url.endsWith('/ops/control/verbs.ts')));
  const heavy =
    /fastify|re2js|level|libp2p|wire\/messages|control\/(?:door|index|policy|host-record)\.ts/;
  t.deepEqual(
    loaded.filter((url) => heavy.test(url.replace(/^.*?\/node_modules\//, ''))),
    [],
  );
});
