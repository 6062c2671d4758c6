import test from 'ava';
import { fingerprintOf } from './asker.ts';

const url = 'http://origin.example/f?sig=1';

test('fingerprintOf() is the same for requests that the origin cannot tell apart', (t) => {
  const one = fingerprintOf({ url, headers: { Accept: '*/*', 'X-User': 'a' } });
  t.is(fingerprintOf({ url, headers: { 'x-user': 'a', accept: '*/*' } }), one);
  t.is(fingerprintOf({ url, headers: {} }), fingerprintOf({ url }));
});

test('fingerprintOf() differs with the signature, the user and any header', (t) => {
  const prints = [
    { url },
    { url: 'http://origin.example/f?sig=2' },
    { url: 'http://origin.example/f' },
    { url: 'http://user:secret@origin.example/f?sig=1' },
    { url: 'http://user:other@origin.example/f?sig=1' },
    { url, headers: { authorization: 'Bearer a' } },
    { url, headers: { authorization: 'Bearer b' } },
    { url, headers: { 'x-user': 'a' } },
    { url, headers: { 'x-user': 'a', 'x-role': 'b' } },
    { url, headers: { 'x-user': 'a,x-role:b' } },
  ].map(fingerprintOf);
  t.is(new Set(prints).size, prints.length);
});

test('fingerprintOf() keeps no secret', (t) => {
  const print = fingerprintOf({
    url: 'http://user:secret@origin.example/f',
    headers: { authorization: 'secret' },
  });
  t.regex(print, /^[0-9a-f]{64}$/);
});
