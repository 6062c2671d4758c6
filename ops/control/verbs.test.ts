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
