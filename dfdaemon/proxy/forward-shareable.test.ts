import test from 'ava';
import { privacyOf, unshareable } from './forward-shareable.ts';

test('privacyOf() lets through what asks for the same content as everybody', (t) => {
  const headers = {
    host: 'a.test',
    'user-agent': 'Debian APT-HTTP/1.3',
    accept: '*/*',
    range: 'bytes=1-2',
    'sec-fetch-mode': 'cors',
  };
  t.is(privacyOf({ method: 'GET', headers }), undefined);
});

test('privacyOf() names what makes an answer somebody’s own', (t) => {
  const cases: [string, Record<string, string>, string][] = [
    ['POST', {}, 'not a GET'],
    ['HEAD', {}, 'not a GET'],
    ['GET', { authorization: 'Basic x' }, 'header authorization'],
    ['GET', { cookie: 'a=1' }, 'header cookie'],
    ['GET', { 'private-token': 'x' }, 'header private-token'],
    ['GET', { 'if-none-match': '"x"' }, 'header if-none-match'],
    ['GET', { 'transfer-encoding': 'chunked' }, 'header transfer-encoding'],
    ['GET', { 'content-length': '5' }, 'a body'],
    ['GET', { 'cache-control': 'max-age=0, no-store' }, 'Cache-Control: no-store'],
  ];
  for (const [method, headers, reason] of cases) t.is(privacyOf({ method, headers }), reason);
});

test('unshareable() asks for a version, a length, and no word that it is for one client', (t) => {
  const good = { etag: '"x"', 'content-length': '10', 'cache-control': 'public, max-age=5' };
  const of = (headers: Record<string, string | string[]>, status = 200): string | undefined =>
    unshareable({ status, headers: { ...good, ...headers } });
  t.is(of({}), undefined);
  t.is(of({ vary: 'Accept-Encoding' }), undefined);
  t.is(of({}, 302), 'status 302');
  t.is(of({}, 405), 'status 405');
  t.is(of({ 'cache-control': 'Private' }), 'Cache-Control: private');
  t.is(of({ 'cache-control': 'no-store' }), 'Cache-Control: no-store');
  t.is(of({ 'cache-control': 'private="set-cookie"' }), 'Cache-Control: private');
  t.is(of({ 'set-cookie': ['a'] }), 'Set-Cookie');
  t.is(of({ vary: 'accept-encoding, Cookie' }), 'Vary: Cookie');
  t.is(of({ vary: '*' }), 'Vary: *');
  t.is(of({ 'content-encoding': 'gzip' }), 'Content-Encoding: gzip');
  t.is(of({ 'content-length': 'many' }), 'no Content-Length');
  const headers = { 'content-length': '10' };
  t.is(unshareable({ status: 200, headers }), 'no ETag and no Last-Modified');
});
