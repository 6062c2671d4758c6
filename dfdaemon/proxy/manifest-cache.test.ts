import { createHash } from 'node:crypto';
import test from 'ava';
import { ManifestCache, accepts, hasDigest, isDigest } from './manifest-cache.ts';

test('ManifestCache holds at most 32 MiB, forgets what was not used longest, and knows content by where it was served', (t) => {
  const cache = new ManifestCache();
  const manifest = { bytes: new Uint8Array(4 * 1024 * 1024 - 1024), mediaType: 'x/y' };
  for (let at = 0; at < 8; at += 1) cache.put(`https://a.test/${at}`, manifest);
  t.truthy(cache.get('https://a.test/0'));
  cache.put('https://a.test/8', manifest);
  t.truthy(cache.get('https://a.test/0'));
  t.is(cache.get('https://a.test/1'), undefined);
  t.is(cache.get('https://b.test/0'), undefined);
});

test('accepts() reads Accept as it comes: lists, parameters and wildcards', (t) => {
  const type = 'application/vnd.oci.image.index.v1+json';
  t.true(accepts(`a/b, ${type.toUpperCase()};q=0.5`, `${type}; charset=utf-8`));
  t.true(accepts('a/b, */*', type));
  t.true(accepts('application/*', type));
  t.false(accepts('a/b', type));
  t.false(accepts(undefined, type));
});

test('hasDigest() verifies sha256 and sha512, the digests that isDigest() takes', (t) => {
  const bytes = Buffer.from('x');
  for (const algorithm of ['sha256', 'sha512']) {
    const digest = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
    t.true(isDigest(digest));
    t.true(hasDigest(bytes, digest));
    t.false(hasDigest(Buffer.from('y'), digest));
  }
  for (const other of ['v1', 'md5:d41d8cd98f00b204e9800998ecf8427e', 'sha256:xyz']) {
    t.false(isDigest(other));
  }
});
