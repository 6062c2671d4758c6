import test from 'ava';
import { assert, property, string, webUrl } from 'fast-check';
import {
  hasFilteredParams,
  normaliseUrl,
  parseOriginUrl,
  taskIdOf,
  withoutSecrets,
} from './task-id.ts';

const url = 'http://origin.example/path/file?b=2&a=1';
const sha256 = `sha256:${'a'.repeat(64)}`;

test('taskIdOf() is the same for what does not change the bytes', (t) => {
  const id = taskIdOf({ url });
  t.regex(id, /^[0-9a-f]{64}$/);
  for (const same of [
    'HTTP://ORIGIN.example/path/file?b=2&a=1',
    'http://origin.example:80/path/file?b=2&a=1#part',
    'http://user:secret@origin.example/path/file?b=2&a=1',
  ]) {
    t.is(taskIdOf({ url: same }), id, same);
  }
  const filteredQueryParams = ['sig', 'a b'];
  const signed = `${url}&sig=1&a%20b=2&a+b=3`;
  t.is(taskIdOf({ url: signed, filteredQueryParams }), taskIdOf({ url, filteredQueryParams }));
});

test('taskIdOf() differs with what does', (t) => {
  const ids = [
    taskIdOf({ url }),
    taskIdOf({ url: `${url}&c=3` }),
    taskIdOf({ url: 'http://origin.example/path/file?a=1&b=2' }),
    taskIdOf({ url: url.replace('http:', 'https:') }),
    taskIdOf({ url, tag: 'x' }),
    taskIdOf({ url, application: 'x' }),
    taskIdOf({ url, range: { start: 0 } }),
    taskIdOf({ url, range: { start: 0, end: 10 } }),
    taskIdOf({ url, digest: 'md5:00' }),
    taskIdOf({ url, digest: sha256 }),
    taskIdOf({ url, digest: sha256, range: { start: 0 } }),
  ];
  t.is(new Set(ids).size, ids.length);
});

test('taskIdOf() names content by a strong digest alone, and by no other', (t) => {
  const elsewhere = 'https://mirror.example/other';
  const same = (digest: string): boolean =>
    taskIdOf({ url, digest }) === taskIdOf({ url: elsewhere, tag: 'x', digest });
  t.true(same(sha256));
  t.true(same(sha256.toUpperCase()));
  t.true(same(`sha512:${'b'.repeat(128)}`));
  for (const weak of [
    'md5:00',
    'sha1:00',
    'crc32:00000000',
    'sha256:aa',
    `sha256:${'a'.repeat(65)}`,
  ]) {
    t.false(same(weak), weak);
  }
});

test('normaliseUrl() is done once and for all', (t) => {
  assert(
    property(webUrl({ withQueryParameters: true, withFragments: true }), (text) => {
      const once = normaliseUrl(text);
      t.is(normaliseUrl(once), once);
    }),
  );
});

test('normaliseUrl() keeps the parameters that stay as they are written', (t) => {
  t.is(normaliseUrl('http://h/?x=%7e%2F+&sig=1&y', ['sig']), 'http://h/?x=%7e%2F+&y');
  t.is(normaliseUrl('http://h/?sig=%zz', ['sig']), 'http://h/');
  t.is(normaliseUrl('http://h/?%zz=1&sig=2', ['sig']), 'http://h/?%zz=1');
});

test('hasFilteredParams() looks for what normaliseUrl() takes out', (t) => {
  t.true(hasFilteredParams('http://h/?a=1&s%69g=2', ['sig']));
  t.false(hasFilteredParams('http://h/?a=sig', ['sig']));
  t.false(hasFilteredParams('http://h/?sig=2', []));
});

test('parseOriginUrl() refuses what is no URL of an origin, and any text as an error of the user', (t) => {
  for (const text of ['', 'file', '/a', 'file:///etc/passwd', 'ftp://h/', 'http://']) {
    t.throws(() => parseOriginUrl(text), { code: 'ERR_URL' }, text);
  }
  assert(
    property(string(), (text) => {
      try {
        parseOriginUrl(text);
      } catch (error) {
        t.like(error, { code: 'ERR_URL' });
      }
    }),
  );
});

test('withoutSecrets() keeps scheme, host and path alone', (t) => {
  const secret = 'https://user:pass@h.example:8443/a/b?token=t#frag';
  t.is(withoutSecrets(secret), 'https://h.example:8443/a/b');
  t.is(withoutSecrets('no url'), '');
});
