import test from 'ava';
import { parseImage } from './image-reference.ts';

const digest = `sha256:${'a'.repeat(64)}`;

test('parseImage() reads references as engines do', (t) => {
  const cases: [string, string, string, string][] = [
    ['nginx', 'https://registry-1.docker.io', 'library/nginx', 'latest'],
    ['user/app:v1', 'https://registry-1.docker.io', 'user/app', 'v1'],
    ['docker.io/nginx:1', 'https://registry-1.docker.io', 'library/nginx', '1'],
    ['registry.test/a/b/c:v1', 'https://registry.test', 'a/b/c', 'v1'],
    ['registry.test:5000/a', 'https://registry.test:5000', 'a', 'latest'],
    ['http://registry.test:5000/a:v', 'http://registry.test:5000', 'a', 'v'],
    ['127.0.0.1:5000/a:v', 'http://127.0.0.1:5000', 'a', 'v'],
    ['localhost:5000/a', 'http://localhost:5000', 'a', 'latest'],
    ['[::1]:5000/a', 'http://[::1]:5000', 'a', 'latest'],
    ['https://127.0.0.1:5000/a', 'https://127.0.0.1:5000', 'a', 'latest'],
    [`registry.test/a:v1@${digest}`, 'https://registry.test', 'a', digest],
    [
      `http://harbor.test/v2/library/app/manifests/${digest}`,
      'http://harbor.test',
      'library/app',
      digest,
    ],
  ];
  for (const [text, base, repository, reference] of cases) {
    t.deepEqual(parseImage(text), { base, repository, reference }, text);
  }
});

test('parseImage() refuses what no registry would know', (t) => {
  const wrong = [
    '',
    ' ',
    'A/b',
    'a/b:',
    'a/b:-x',
    'a/b@sha256:12',
    'a b',
    'a/../b',
    'http://',
    'user:pw@registry.test/a',
    'http://u:p@registry.test/a',
    'registry.test/',
    'https://u:p@harbor.test/v2/a/manifests/v1',
    'https://harbor.test/v2/a/manifests/v1?token=x',
    `a/${'b'.repeat(260)}`,
  ];
  for (const text of wrong) t.throws(() => parseImage(text), { code: 'ERR_REQUEST' }, text);
});
