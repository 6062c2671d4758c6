import test from 'ava';
import { contentLength, openerOf } from './origin-request.ts';

const url = 'http://origin.example/f';
const headers = { 'x-user': 'a' };

test('openerOf() asks for the whole without a range, and for parts of it', (t) => {
  const opener = openerOf({ url, headers });
  t.deepEqual(opener.whole(), { url, headers });
  t.deepEqual(opener.part(5, 9), { url, headers, range: { start: 5, end: 9 } });
  t.deepEqual(opener.part(5, undefined), { url, headers, range: { start: 5 } });
  t.deepEqual(openerOf({ url }).whole(), { url, headers: {} });
});

test('openerOf() a task that is a range asks for parts of that', (t) => {
  const bounded = openerOf({ url, range: { start: 100, end: 200 } });
  t.deepEqual(bounded.whole().range, { start: 100, end: 200 });
  t.deepEqual(bounded.part(5, 9).range, { start: 105, end: 109 });
  t.deepEqual(bounded.part(5, undefined).range, { start: 105, end: 200 });
  const open = openerOf({ url, range: { start: 100 } });
  t.deepEqual(open.whole().range, { start: 100 });
  t.deepEqual(open.part(5, undefined).range, { start: 105 });
});

test('contentLength() is what of the range there is', (t) => {
  t.is(contentLength({ url }, 50), 50);
  t.is(contentLength({ url }, undefined), undefined);
  t.is(contentLength({ url, range: { start: 10, end: 20 } }, 50), 10);
  t.is(contentLength({ url, range: { start: 10, end: 99 } }, 50), 40);
  t.is(contentLength({ url, range: { start: 10 } }, 50), 40);
  t.is(contentLength({ url, range: { start: 60 } }, 50), 0);
  t.is(contentLength({ url, range: { start: 10, end: 20 } }, undefined), undefined);
});
