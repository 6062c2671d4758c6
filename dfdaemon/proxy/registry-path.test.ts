import test from 'ava';
import { assert, property, webPath, webQueryParameters } from 'fast-check';
import { CodedError } from '../../core/base/error.ts';
import { parseRegistryUrl } from './registry-path.ts';
import { Upstreams } from './registry-upstreams.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const upstreams = new Upstreams({ registry: 'http://default.test:5000' });

test('parseRegistryUrl() finds the registry in ns, in the path, or takes the default', (t) => {
  const cases: [string, string, string, string][] = [
    ['/v2/lab/app/manifests/v1', 'http://default.test:5000', '/v2/lab/app/manifests/v1', '/v2/'],
    [
      '/v2/lab/app/manifests/v1?ns=registry.test%3A5000',
      'https://registry.test:5000',
      '/v2/lab/app/manifests/v1',
      '/v2/',
    ],
    [
      `/v2/registry.test:5000/lab/app/blobs/${digest}`,
      'https://registry.test:5000',
      `/v2/lab/app/blobs/${digest}`,
      '/v2/registry.test:5000/',
    ],
    [
      '/v2/localhost/lab/app/tags/list?n=2&last=v1',
      'http://localhost',
      '/v2/lab/app/tags/list?n=2&last=v1',
      '/v2/localhost/',
    ],
    [
      '/v2/docker.io/library/x/manifests/v1',
      'https://registry-1.docker.io',
      '/v2/library/x/manifests/v1',
      '/v2/docker.io/',
    ],
    [
      '/v2/library/x/manifests/v1?ns=docker.io',
      'https://registry-1.docker.io',
      '/v2/library/x/manifests/v1',
      '/v2/',
    ],
    ['/v2/', 'http://default.test:5000', '/v2/', '/v2/'],
    ['/v2', 'http://default.test:5000', '/v2/', '/v2/'],
    ['/v2/?ns=docker.io', 'https://registry-1.docker.io', '/v2/', '/v2/'],
    ['/v2/_catalog?n=5', 'http://default.test:5000', '/v2/_catalog?n=5', '/v2/'],
    // With ns the path is a repository's, whatever it looks like.
    ['/v2/a.b/app/manifests/v1?ns=x.test', 'https://x.test', '/v2/a.b/app/manifests/v1', '/v2/'],
    [
      `/v2/lab/app/blobs/${encodeURIComponent(digest)}`,
      'http://default.test:5000',
      `/v2/lab/app/blobs/${digest}`,
      '/v2/',
    ],
  ];
  for (const [url, origin, path, prefix] of cases) {
    const ask = parseRegistryUrl(url, upstreams);
    t.is(ask.upstream?.origin, origin, url);
    t.is(ask.path, path, url);
    t.is(ask.prefix, prefix, url);
  }
});

const kindOf = (url: string): unknown => parseRegistryUrl(url, upstreams).target;

test('parseRegistryUrl() tells blobs, manifests and the rest apart, whatever repositories are called', (t) => {
  t.deepEqual(kindOf(`/v2/blobs/manifests/blobs/${digest}`), {
    kind: 'blob',
    name: 'blobs/manifests',
    digest,
  });
  t.deepEqual(kindOf('/v2/a/manifests/v1.0_x'), {
    kind: 'manifest',
    name: 'a',
    reference: 'v1.0_x',
  });
  t.deepEqual(kindOf('/v2/_catalog'), { kind: 'other', name: undefined });
  t.deepEqual(kindOf('/v2/a/b/tags/list'), { kind: 'other', name: 'a/b' });
  t.deepEqual(kindOf(`/v2/a/referrers/${digest}`), { kind: 'other', name: 'a' });
  t.deepEqual(kindOf('/v2/'), { kind: 'ping' });
});

test('parseRegistryUrl() refuses what would lead elsewhere, and says what is wrong', (t) => {
  const code = (url: string): string =>
    t.throws(() => parseRegistryUrl(url, upstreams), { instanceOf: CodedError }).code;
  t.is(code('/v2/lab/../../admin/manifests/v1'), 'ERR_REQUEST');
  t.is(code('/v2/lab/%2e%2e/x/manifests/v1'), 'ERR_REQUEST');
  t.is(code('/v2/lab/a%3Fb/manifests/v1'), 'ERR_REQUEST');
  t.is(code('/v2/lab/a%0d%0ab/manifests/v1'), 'ERR_REQUEST');
  t.is(code('/v2/lab/%zz/manifests/v1'), 'ERR_REQUEST');
  t.is(code('/v2//manifests/v1'), 'ERR_REQUEST');
  t.is(code('/v2/a/manifests/'), 'ERR_REQUEST');
  t.is(code('/v2/a/things/v1'), 'ERR_NOT_FOUND');
  t.is(code('/v2/a/manifests/v1?ns=user@evil.test'), 'ERR_REQUEST');
  t.is(code('/v2/a/manifests/v1?ns=evil.test/x'), 'ERR_REQUEST');
  t.is(code('/v2/a/manifests/v1?ns='), 'ERR_REQUEST');
  t.is(code(`/v2/${'a/'.repeat(600)}manifests/v1`), 'ERR_REQUEST');
});

test('parseRegistryUrl() stays below /v2 of the registry that is named, whatever comes', (t) => {
  assert(
    property(webPath(), webQueryParameters(), (path, query) => {
      try {
        const ask = parseRegistryUrl(`/v2${path}?${query}`, upstreams);
        if (ask.upstream === undefined) return true;
        const url = new URL(ask.upstream.origin + ask.path);
        return url.origin === ask.upstream.origin && url.pathname.startsWith('/v2/');
      } catch (error) {
        return error instanceof CodedError;
      }
    }),
  );
  t.pass();
});
