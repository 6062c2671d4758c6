import test from 'ava';
import { ProxyRules } from './rules.ts';

function decide(
  rules: readonly unknown[],
  url: string,
  request: { method?: string; headers?: Record<string, string> } = {},
): ReturnType<ProxyRules['decide']> {
  const { method = 'GET', headers = {} } = request;
  return new ProxyRules(rules).decide({ method, url: new URL(url), headers });
}

test('decide() takes the first rule whose URL, method and headers match', (t) => {
  const rules = [
    { url: '^http://a\\.test/', methods: ['POST'], to: 'reject' },
    { url: '^http://a\\.test/', headers: { 'X-Build': '^ci-' }, to: 'mesh' },
    { url: '^http://a\\.test/', to: 'direct' },
    { url: '.', to: 'reject' },
  ];
  t.is(decide(rules, 'http://a.test/x', { method: 'POST' }).rule, 'rule 1');
  t.is(decide(rules, 'http://a.test/x', { headers: { 'x-build': 'ci-7' } }).rule, 'rule 2');
  t.is(decide(rules, 'http://a.test/x', { headers: { 'x-build': 'me' } }).rule, 'rule 3');
  t.like(decide(rules, 'http://b.test/'), { rule: 'rule 4', to: 'reject' });
});

test('decide() changes headers and the URL as the rule says', (t) => {
  const rules = [
    {
      url: '^http://old\\.test/(.*)$',
      to: 'mesh',
      rewrite: { to: 'https://new.test/from/$1' },
      removeHeaders: ['Cookie'],
      setHeaders: { 'X-Tenant': 'a' },
      filteredQueryParams: ['sig'],
      priority: 'release',
    },
    { url: '.', to: 'direct', rewrite: { from: '^http:', to: 'https:' } },
  ];
  const first = decide(rules, 'http://old.test/p/q?sig=1', {
    headers: { cookie: 'c', accept: 'a' },
  });
  t.is(first.url.href, 'https://new.test/from/p/q?sig=1');
  t.deepEqual(first.headers, { accept: 'a', 'x-tenant': 'a' });
  t.deepEqual(first.filteredQueryParams, ['sig']);
  t.is(first.priority, 'release');
  t.is(decide(rules, 'http://b.test/http:').url.href, 'https://b.test/http:');
  const nowhere = [{ url: '.', to: 'direct', rewrite: { from: '^.*$', to: 'file:///etc/passwd' } }];
  t.throws(() => decide(nowhere, 'http://b.test/'), { code: 'ERR_URL' });
});

test('without rules package files go to the mesh, and everything else to its origin', (t) => {
  const mesh = [
    'http://deb.debian.org/debian/pool/main/a/apt/apt_2.6.1_amd64.deb',
    'http://deb.debian.org/debian/pool/main/a/apt/apt_2.6.1.dsc',
    'http://deb.debian.org/debian/pool/main/b/bash/bash_5.2.15.orig.tar.xz',
    `http://deb.debian.org/debian/dists/sid/main/by-hash/SHA256/${'0f'.repeat(32)}`,
    `http://mirror.test/fedora/repodata/${'0f'.repeat(32)}-primary.xml.gz`,
    'http://mirror.test/Packages/b/bash-5.2-1.x86_64.rpm',
    'http://dl-cdn.alpinelinux.org/alpine/v3.19/main/x86_64/bash-5.2.21-r0.apk',
    'https://registry.npmjs.org/left-pad/-/left-pad-1.3.0.tgz',
    'https://registry.npmjs.org/@types/node/-/node-24.0.0.tgz?x=1',
    'https://files.pythonhosted.org/packages/aa/bb/requests-2.31.0-py3-none-any.whl',
    'https://files.pythonhosted.org/packages/aa/bb/requests-2.31.0.tar.gz',
    'https://repo1.maven.org/maven2/a/b/1.0/b-1.0.jar',
    'https://proxy.golang.org/github.com/a/b/@v/v1.2.3.zip',
    'https://static.crates.io/crates/serde/serde-1.0.0.crate',
  ];
  for (const url of mesh) t.is(decide([], url).to, 'mesh', url);
  const direct = [
    'http://deb.debian.org/debian/dists/sid/InRelease',
    'http://deb.debian.org/debian/dists/sid/main/binary-amd64/Packages.xz',
    'https://registry.npmjs.org/left-pad',
    'https://pypi.org/simple/requests/',
    'http://a.test/repo.git/info/refs?service=git-upload-pack',
    'http://a.test/?file=a.deb',
    'http://a.test/maven-metadata.xml',
    'http://a.test/latest.jar',
  ];
  for (const url of direct) t.is(decide([], url).to, 'direct', url);
  t.is(decide([], mesh[0] ?? '', { method: 'PUT' }).to, 'direct');
});

test('a rule that is wrong is refused with its number and field', (t) => {
  const cases: [unknown, RegExp][] = [
    [{ to: 'mesh' }, /rule 1: \/url: is missing/],
    [{ url: '(', to: 'mesh' }, /rule 1: not a regular expression of RE2/],
    [{ url: '(?=a)', to: 'mesh' }, /rule 1: not a regular expression of RE2/],
    [{ url: 'a', to: 'elsewhere' }, /rule 1: \/to: /],
    [{ url: 'a', to: 'mesh', use: 1 }, /rule 1: \/use: is not known/],
    [{ url: 'a', to: 'mesh', headers: { 'a b': 'c' } }, /rule 1: not a name of a header: a b/],
    [{ url: 'a', to: 'mesh', setHeaders: { a: 'b\r\nc: d' } }, /rule 1: \/setHeaders\/a: /],
    [{ url: 'a{900}b{900}', to: 'mesh' }, /rule 1: the counts in .* are too large together/],
    [{ url: 'a'.repeat(1001), to: 'mesh' }, /rule 1: \/url: /],
    ['mesh', /rule 1: \/: expected object/],
  ];
  for (const [rule, message] of cases) {
    t.throws(() => new ProxyRules([rule]), { code: 'ERR_CONFIG', message });
  }
  const many = Array.from({ length: 257 }, () => ({ url: 'a', to: 'mesh' }));
  t.throws(() => new ProxyRules(many), { code: 'ERR_CONFIG', message: /more than 256 rules/ });
});

test('a pattern that backtracking engines need years for is matched all the same', (t) => {
  const rules = [{ url: '^http://[^/]+/((a+)+)+(.*b)*(.*c)*$', to: 'reject' }];
  t.is(decide(rules, `http://a.test/${'a'.repeat(8000)}!`).to, 'direct');
});
